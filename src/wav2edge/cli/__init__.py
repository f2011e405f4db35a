"""The ``wav2edge`` command. A file in this folder is a subcommand; only the one that is called is imported.

A subcommand is a function ``run`` under ``@command`` (see ``_command.py``), which returns its exit code or None for 0.

    0  done            1  a gate refused: parity, words, selftest      2  wrong usage or input
    3  an engine or a device is missing                                130  interrupted

For every code but 0 one line on standard error says what is wrong and what to do.
"""

from __future__ import annotations

import itertools
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wav2edge import __version__
from wav2edge.runtime.errors import Wav2EdgeError, first_line

from . import _terminal
from ._command import CONTEXT, Option, as_options, described, line_of_help

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_SECTIONS = {
    "From a checkpoint to a bundle": ("export", "inspect", "quantize"),
    "Measure it": ("evaluate", "bench"),
    "On to the device": ("devices", "pack", "sign", "verify-bundle", "build", "selftest"),
    "Use it": ("transcribe", "listen", "classify", "embed", "verify", "diarize", "serve"),
    "See it, set it up": ("demo", "completion"),
}
"""In the order in which they are used. A command that is not listed comes under the last heading."""

DEBUG = "WAV2EDGE_DEBUG"  # set: a traceback instead of a line for what should not happen
_COMPLETE = "_WAV2EDGE_COMPLETE"  # set by the shell's completion; its value says what is wanted


class _Commands(click.Group):
    """The commands of this folder, each imported when it is called or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in order."""
        there = {m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")}
        known = [name for names in _SECTIONS.values() for name in names if name in there]
        return known + sorted(there - set(known))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found = import_module(f"{__name__}.{cmd_name.replace('-', '_')}").run
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; the message for an unknown name suggests the nearest one."""
        if not args[0].startswith("-") and args[0] not in (names := self.list_commands(ctx)):
            import difflib

            near = difflib.get_close_matches(args[0], names, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Return ``--help``, described as the other options are."""
        return described(super().get_help_option(ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        rest = self.list_commands(ctx)
        longest = max(map(len, rest))
        for heading, names in _SECTIONS.items():
            last = heading == tuple(_SECTIONS)[-1]
            shown = [name for name in rest if name in names or last]
            rest = [name for name in rest if name not in shown]
            rows = [(f"{name:{longest}}", _line(name)) for name in shown]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the commands that begin so, none of them imported; and the options."""
        from click.shell_completion import CompletionItem

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=_line(name)) for name in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)


def _line(name: str) -> str:
    """A command's line of help: the first of its file."""
    with (Path(__file__).parent / f"{name.replace('-', '_')}.py").open(encoding="utf-8") as file:
        return line_of_help(file.readline())


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        _terminal.out(f"wav2edge {__version__}")
        ctx.exit()


root = _Commands(
    "wav2edge",
    context_settings=CONTEXT,
    help="""Take a trained checkpoint of the Wav2Vec 2.0 family to a device, and check every step.

    To try it: `wav2edge transcribe talk.wav` uses a small demo model that is embedded, and `wav2edge demo` exports,
    checks and measures it. `wav2edge COMMAND --help` explains a command.

    \b
    checkpoint  a model as it was trained: weights, configuration, vocabulary
    bundle      the same as one directory that a device can run, without torch
    variant     one numeric form of the bundle's model: fp32, fp16, int8 …
    engine      a library that runs it, such as ONNX Runtime, OpenVINO, TensorRT
    manifest    a list of recordings, each with its text: JSON Lines, .tsv, .csv""",
    epilog="Exit codes: 0 done; 1 refused, because the result was not good enough; 2 wrong usage or input; 3 an engine "
    "or device is missing; 130 interrupted.",
    options_metavar="[OPTIONS]",
    subcommand_metavar="COMMAND …",
    params=[
        click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version,
                     help="show the version and stop"),
    ],
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and (instruction := os.environ.get(_COMPLETE)):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "wav2edge", _COMPLETE, instruction)
    _terminal.tolerate_any_name()
    try:
        with root.make_context("wav2edge", words or ["--help"]) as context:
            code = int(root.invoke(context) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _terminal.note("interrupted")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG) and not isinstance(error, (click.UsageError, Wav2EdgeError)):
            raise
        _terminal.note(_line_of(error, words))
        return error.exit_code if isinstance(error, Wav2EdgeError) else 2


def _line_of(error: Exception, words: Sequence[str]) -> str:
    """An error in one line: what is wrong and what to do."""
    if isinstance(error, click.UsageError):
        return _usage(error, words)
    if isinstance(error, Wav2EdgeError):
        return as_options(str(error), called.params if (called := _called(words)) is not None else ())
    if isinstance(error, OSError):
        return f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "out of memory; use shorter audio, smaller batches or a smaller variant"
    what = f"{type(error).__name__}: {first_line(error)}"
    return f"internal error ({what}); please report it, with the traceback that {DEBUG}=1 shows"


def _called(words: Sequence[str]) -> click.Command | None:
    """The command that was called; None where there is none of that name."""
    name = next((word for word in words if not word.startswith("-")), "")
    return root.get_command(click.Context(root), name)


def _usage(error: click.UsageError, words: Sequence[str]) -> str:
    """What is wrong with a command's arguments, in one line, and where the right ones are listed."""
    called = _called(words)
    command = "wav2edge" if called is None else f"wav2edge {called.name}"
    message = error.message[:1].lower() + error.message[1:].rstrip(".")
    if isinstance(error, click.NoSuchOption):
        near = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
        message = f"there is no option {error.option_name}{near}"
    elif isinstance(error, click.BadOptionUsage):
        message = (
            f"{error.option_name} takes no value" if "not take" in message else f"{error.option_name} needs a value"
        )
    elif isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        named = isinstance(error.param, click.Option)
        name = error.param.opts[-1] if named else error.param.make_metavar(error.ctx).strip("[].…")
        if not isinstance(error, click.MissingParameter):
            return f"{name} {error.message}"
        message = f"{name} is missing"
    elif message.startswith("got unexpected extra argument") and called is not None:
        message = _after_option(words, called.params, message) or message
    return f"{message} (see: {command} --help)"


def _after_option(words: Sequence[str], parameters: Sequence[click.Parameter], message: str) -> str:
    """Why an option whose value may be left out did not take the word that the message names; empty for other words."""
    endings = {name: each.endings for each in parameters if isinstance(each, Option) for name in each.opts}
    for name, word in itertools.pairwise(words):
        if endings.get(name) and word in message.partition("(")[2].strip("() ").split():
            return f"{name} {word}: the file's name must end in {' or '.join(endings[name])}"
    return ""
