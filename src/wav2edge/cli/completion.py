"""``wav2edge completion SHELL``: print the script that lets your shell complete commands with the Tab key."""

from __future__ import annotations

from wav2edge.runtime.errors import InputError

from . import _terminal
from ._command import argument, command
from ._values import OneOf

SHELLS = ("bash", "zsh", "fish")


@command(
    "wav2edge completion bash >> ~/.bashrc",
    "wav2edge completion zsh >> ~/.zshrc",
    "wav2edge completion fish > ~/.config/fish/completions/wav2edge.fish",
)
@argument("shell", "bash (4.4 or newer), zsh or fish", metavar="SHELL", type=OneOf(lambda: SHELLS))
def run(shell: str) -> None:
    """Print a script that lets your shell complete commands with the Tab key.

    Commands, options, engines, variants, boards and file names are completed. Write the script to the file that your
    shell reads, as below, and open a new terminal.
    """
    from click.shell_completion import get_completion_class

    from . import _COMPLETE, root

    kind = get_completion_class(shell)
    if kind is None:
        raise InputError(f"{shell}: no completion for this shell; there is one for {', '.join(SHELLS)}")
    completion = kind(root, {}, "wav2edge", _COMPLETE)
    # Not click's source(), which also starts bash to check its version.
    _terminal.out(completion.source_template % completion.source_vars())
