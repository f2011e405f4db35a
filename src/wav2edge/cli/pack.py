"""``wav2edge pack BUNDLE --for PROFILE FILE.tar``: one file to copy to a board."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write one file to copy to a board"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle to pack")
    parser.add_argument("file", metavar="FILE.tar", help="file to write (.tar, .tar.gz or .tgz)")
    parser.add_argument(
        "--for",
        dest="profile",
        required=True,
        metavar="PROFILE",
        help="board; `wav2edge devices --profiles` lists them",
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="VARIANT",
        help="pack this one (default: the profile's); repeatable",
    )
    parser.add_argument("--wheel", type=Path, metavar="FILE.whl", help="pack this wheel of wav2edge along")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE.tar where it exists")


def run(arguments: argparse.Namespace) -> int:
    """Pack, and say what to do with the file."""
    from wav2edge.devices import pack, profile
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.errors import InputError

    if arguments.profile in pack.LAYOUTS:
        raise InputError(
            f"--for {arguments.profile}: this version does not write that layout yet; "
            f"--for takes a board: {', '.join(profile.names())}"
        )
    board = profile.load(arguments.profile)
    packed = pack.pack(
        Bundle.open(arguments.bundle),
        board,
        Path(arguments.file),
        variants=arguments.variant,
        wheel=arguments.wheel,
        overwrite=arguments.overwrite,
    )
    names = ", ".join(f"{variant.name} ({variant.bytes / 1e6:.1f} MB)" for variant in packed.variants)
    print(f"{packed.path}: {packed.bytes / 1e6:.1f} MB for {board.title}, with {names}")
    print(f"\nOn the board:\n  tar xf {packed.path.name} && sha256sum -c SHA256SUMS")
    for line in packed.install:
        print(f"  {line}")
    print(f"  wav2edge selftest {Path(arguments.bundle).resolve().name}")
    if arguments.wheel is None:
        print("\nTo carry wav2edge itself along: `pip wheel --no-deps .` in its repository, then --wheel FILE.whl")
    return 0
