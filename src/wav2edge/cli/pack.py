"""``wav2edge pack BUNDLE --for PROFILE FILE.tar``: write one file with all that a board needs to run a bundle."""

from __future__ import annotations

from pathlib import Path

from wav2edge.runtime.errors import InputError

from . import _options, _terminal
from ._command import argument, command, listed, option
from ._values import Suggested


def _boards() -> tuple[str, ...]:
    from wav2edge.devices import pack, profile

    return (*profile.names(), *pack.LAYOUTS)


@command(
    "wav2edge pack my-bundle --for raspberry-pi-5 my-bundle.tar",
    "wav2edge pack my-bundle --for jetson-orin-nano my-bundle.tar --wheel wav2edge-0.1.0-py3-none-any.whl",
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
@option("--wheel", "put this wheel of wav2edge in as well", metavar="FILE.whl", type=_options.FILE)
@option("--overwrite", "replace FILE.tar where it exists", is_flag=True)
def run(
    files: tuple[str, ...],
    profile: str,
    model: str | None,
    variant: tuple[str, ...],
    wheel: str | None,
    overwrite: bool,
) -> None:
    """Write one file with all that a board needs to run a bundle.

    The file holds the variants that suit the board, checksums, and the list of packages to install. What to
    do with it on the board is printed at the end.
    """
    from wav2edge.devices import pack
    from wav2edge.devices import profile as profiles

    name, file = _split(files, model)
    if profile in pack.LAYOUTS:
        raise InputError(
            f"--for {profile}: this version does not write that layout yet; "
            f"--for takes a board: {', '.join(profiles.names())}"
        )
    board = profiles.load(profile)
    bundle = _options.open_bundle(name)
    packed = pack.pack(
        bundle,
        board,
        Path(file),
        variants=variant,
        wheel=None if wheel is None else Path(wheel),
        overwrite=overwrite,
    )
    names = ", ".join(f"{variant.name} ({variant.bytes / 1e6:.1f} MB)" for variant in packed.variants)
    _terminal.out(f"{packed.path}: {packed.bytes / 1e6:.1f} MB for {board.title}, with {names}")
    _terminal.out(f"\nOn the board:\n  tar xf {packed.path.name} && sha256sum -c SHA256SUMS")
    for line in packed.install:
        _terminal.out(f"  {line}")
    _terminal.out(f"  wav2edge selftest {bundle.path.resolve().name}")
    if wheel is None:
        _terminal.out(
            "\nTo pack wav2edge itself as well: `pip wheel --no-deps .` in its repository, then --wheel FILE.whl"
        )


def _split(files: tuple[str, ...], model: str | None) -> tuple[str | None, str]:
    """The bundle and the file: ``BUNDLE FILE.tar``, or ``-m BUNDLE FILE.tar``."""
    if len(files) > 2:
        raise InputError(f"{files[2]}: pack takes one bundle and one file to write")
    return _options.which(files[0] if len(files) == 2 else None, model), files[-1]
