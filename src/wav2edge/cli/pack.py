"""``wav2edge pack BUNDLE --for PROFILE FILE.tar``: write one file with all that a board needs to run a bundle."""

from __future__ import annotations

from pathlib import Path

from wav2edge.runtime.errors import InputError

from . import _options, _terminal
from ._command import argument, command, listed, option
from ._values import Suggested

BOARD = "For the board"


def _boards() -> tuple[str, ...]:
    from wav2edge.devices import pack, profile

    return (*profile.names(), *pack.LAYOUTS)


@command(
    "wav2edge pack my-bundle --for raspberry-pi-5 captions.tar --wheels --service",
    "wav2edge pack my-bundle --for jetson-orin-nano captions.tar  # the board takes the packages from an index",
)
@argument(
    "files",
    "the bundle (or -m BUNDLE), then the file to write: .tar, .tar.gz or .tgz",
    metavar="[BUNDLE] FILE.tar",
    nargs=-1,
    required=True,
    type=_options.FILE,
)
@option(
    "--for",
    "profile",
    "board to pack for; `wav2edge devices --profiles` lists them",
    metavar="PROFILE",
    required=True,
    type=Suggested(_boards),
)
@_options.model("bundle to pack")
@listed(
    "--variant",
    "pack these variants (default: those of the board's profile)",
    group=_options.MODEL,
    metavar="V[,V]",
    type=_options.VARIANT,
)
@option("--wheels", "put in all packages as wheels, so that installing needs no network", group=BOARD, is_flag=True)
@listed(
    "--python",
    "with --wheels: for these Pythons (default: those of the board's systems)",
    group=BOARD,
    metavar="3.N[,3.N]",
)
@option("--service", "put in a systemd unit for live captions, named as FILE", group=BOARD, is_flag=True)
@option(
    "--wheel",
    "this wheel of wav2edge (default: that of the one that runs)",
    group=BOARD,
    metavar="FILE.whl",
    type=_options.FILE,
)
@option("--key", "sign what is packed with this private key", group=BOARD, metavar="KEY.pem", type=_options.FILE)
@option("--overwrite", "replace FILE.tar where it exists", is_flag=True)
def run(
    files: tuple[str, ...],
    profile: str,
    model: str | None,
    variant: tuple[str, ...],
    wheels: bool,
    python: tuple[str, ...],
    service: bool,
    wheel: str | None,
    key: str | None,
    overwrite: bool,
) -> None:
    """Write one file with all that a board needs to run a bundle.

    The file holds the variants that suit the board, wav2edge itself, checksums, and install.sh, which installs or
    updates: a new installation is used once it passed its selftest, the one of before stays until then.
    """
    from wav2edge.devices import pack
    from wav2edge.devices import profile as profiles
    from wav2edge.runtime.bundle import signature

    name, file = _split(files, model)
    if profile in pack.LAYOUTS:
        raise InputError(
            f"--for {profile}: this version does not write that layout yet; "
            f"--for takes a board: {', '.join(profiles.names())}"
        )
    board = profiles.load(profile)
    bundle = _options.open_bundle(name)
    if python and not wheels:
        raise InputError("--python says for which Pythons --wheels are gathered; add --wheels")
    own, private = (None if given is None else Path(given) for given in (wheel, key))
    options = pack.PackOptions(variant, own, wheels, python, service, private)
    packed = pack.pack(bundle, board, Path(file), options, overwrite=overwrite)
    names = ", ".join(f"{variant.name} ({variant.bytes / 1e6:.1f} MB)" for variant in packed.variants)
    _terminal.out(f"{packed.path}: {packed.bytes / 1e6:.1f} MB for {board.title}, with {names}")
    _terminal.out(f"\nOn the board:\n  tar xf {packed.path.name}")
    for line in packed.install:
        _terminal.out(f"  {line}")
    if not packed.signed and (bundle.path / signature.SIGNATURE).exists():
        _terminal.note(f"{bundle.path} is signed, what was packed of it is not; --key KEY.pem signs it")


def _split(files: tuple[str, ...], model: str | None) -> tuple[str | None, str]:
    """The bundle and the file: ``BUNDLE FILE.tar``, or ``-m BUNDLE FILE.tar``."""
    if len(files) > 2:
        raise InputError(f"{files[2]}: pack takes one bundle and one file to write")
    return _options.which(files[0] if len(files) == 2 else None, model), files[-1]
