"""``wav2edge verify-bundle BUNDLE --key KEY.pub``: check who signed a bundle, and that nothing in it was changed."""

from __future__ import annotations

from pathlib import Path

from . import _options, _terminal
from ._command import command, listed


@command("wav2edge verify-bundle my-bundle --key team.pub")
@_options.bundle_argument("bundle to check", embedded=False)
@listed("--key", "public key that should have signed it; with several, one suffices", metavar="KEY.pub[,…]",
        required=True, type=_options.FILE)  # fmt: skip
def run(bundle: str | None, model: str | None, key: tuple[str, ...]) -> None:
    """Check who signed a bundle, and that nothing in it was changed.

    A file that was changed, added or removed after signing is named, and the exit code is 2. With WAV2EDGE_TRUSTED_KEYS
    set to public keys, every other command that uses a bundle checks this by itself.
    """
    from wav2edge.runtime.bundle import signature

    opened = _options.named(bundle, model)
    signer = signature.verify(opened.path, [Path(name) for name in key])
    _terminal.out(f"{opened.path}: signed by {signer}, unchanged")
