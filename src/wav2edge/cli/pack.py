"""``wav2edge pack BUNDLE --for PROFILE FILE.tar``: write what a board, or another tool, needs to run a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path

from wav2edge.runtime.errors import InputError

from . import _options, _terminal
from ._command import argument, command, listed, option
from ._values import Suggested, inside_bundle

BOARD = "For the board"


def _boards() -> tuple[str, ...]:
    from wav2edge.devices import profile
    from wav2edge.export import layouts

    return (*profile.names(), *layouts.names())


@command(
    "wav2edge pack my-bundle --for raspberry-pi-5 captions.tar --wheels --service",
    "wav2edge pack my-bundle --for jetson-orin-nano captions.tar  # the board takes the packages from an index",
    "wav2edge pack my-bundle --for sherpa-onnx my-sherpa-model",
)
@argument(
    "files",
    "the bundle (or -m BUNDLE), then the file to write: .tar, .tar.gz or .tgz; for another tool also a folder",
    metavar="[BUNDLE] FILE.tar|DIR",
    nargs=-1,
    required=True,
    type=_options.FILE,
)
@option(
    "--for",
    "profile",
    "board to pack for (`wav2edge devices --profiles` lists them), or another tool: onnx-asr, optimum, sherpa-onnx, "
    "transformers.js, triton, triton:ragged, or static:10s for graphs of a fixed length",
    metavar="PROFILE",
    required=True,
    type=Suggested(_boards),
)
@_options.model("bundle to pack")
@listed(
    "--variant",
    "pack these variants (default: those that the board or the tool uses)",
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
@option("--overwrite", "replace what was packed there before", is_flag=True)
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
    """Write one file with all that a board needs to run a bundle, or the files that another tool loads.

    The file holds the variants that suit the board, wav2edge itself, checksums, and install.sh, which installs or
    updates: a new installation is used once it has passed its selftest; until then the previous one is.

    For another tool: a folder, or one file, with a README that shows the commands to run it. A model that the tool
    would decode to other words is refused with the reason; only an INT8 file may round to others there.
    """
    from wav2edge.devices import pack
    from wav2edge.devices import profile as profiles
    from wav2edge.export import layouts
    from wav2edge.runtime.bundle import signature

    name, file = _split(files, model)
    if reason := inside_bundle(file):
        raise InputError(reason)
    if layouts.is_layout(profile):
        if wheel or wheels or python or service or key:
            raise InputError(f"--for {profile}: the options for boards are of no use to another tool; leave them out")
        _pack_layout(profile, name, Path(file), variant, overwrite)
        return
    if profile not in profiles.names():
        raise InputError(f"--for {profile}: no board or tool of this name; there are {', '.join(_boards())}")
    board = profiles.load(profile)
    bundle = _options.open_bundle(name)
    if python and not wheels:
        raise InputError("--python says for which Pythons --wheels are gathered; add --wheels")
    own, private = (None if given is None else Path(given) for given in (wheel, key))
    options = pack.PackOptions(variant, own, wheels, python, service, private)
    packed = pack.pack(bundle, board, Path(file), options, overwrite=overwrite)
    names = ", ".join(f"{variant.name} ({variant.bytes / 1e6:.1f} MB)" for variant in packed.variants)
    _terminal.out(f"{packed.path}: {packed.bytes / 1e6:.1f} MB for {board.title}, with {names}")
    _terminal.out(f"\nOn the board:\n  tar xf {shlex.quote(packed.path.name)}")
    for line in packed.install:
        _terminal.out(f"  {line}")
    if not packed.signed and (bundle.path / signature.SIGNATURE).exists():
        _terminal.note(f"{bundle.path} is signed, what was packed of it is not; --key KEY.pem signs it")


def _pack_layout(layout: str, name: str | None, path: Path, variants: tuple[str, ...], overwrite: bool) -> None:
    from wav2edge.export import layouts

    packed = layouts.pack(_options.open_bundle(name), layout, path, variants=variants, overwrite=overwrite)
    files = ", ".join(f"{variant} ({file})" for variant, file in packed.readme.variants.items())
    _terminal.out(f"{packed.path}: {packed.bytes / 1e6:.1f} MB for {packed.client}, with {files}\n")
    _terminal.out("\n".join(f"  {line}" for line in (packed.readme.install, *packed.readme.run) if line))
    _terminal.out("\nIts README.md has the details.")


def _split(files: tuple[str, ...], model: str | None) -> tuple[str | None, str]:
    """The bundle and the file: ``BUNDLE FILE.tar``, or ``-m BUNDLE FILE.tar``."""
    if len(files) > 2:
        raise InputError(f"{files[2]}: pack takes one bundle and one file to write")
    return _options.which(files[0] if len(files) == 2 else None, model), files[-1]
