"""``wav2edge build BUNDLE --engine tensorrt``: engines compiled and cached here, ahead of first use."""

from __future__ import annotations

import argparse
import sys
import time

from wav2edge.runtime.errors import EngineError, InputError

HELP = "compile and cache engines on this machine, ahead of first use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle to build engines for")
    parser.add_argument("--engine", metavar="ENGINE", required=True, help="tensorrt or tensorrt-rtx")
    parser.add_argument("--variant", metavar="VARIANT", help="only this variant (default: the engine's best)")
    parser.add_argument("--all", action="store_true", help="every variant that the engine takes")
    parser.add_argument("--device", metavar="DEVICE", help="the GPU to build for (default: cuda:0)")
    parser.add_argument("--longest", type=float, metavar="S", help="the longest clip to expect, in s (default: 30)")
    parser.add_argument(
        "--window", type=float, metavar="S", help="build for a live window of this many seconds as well"
    )
    parser.add_argument(
        "--stage",
        choices=("full", "frontend", "encoder"),
        action="append",
        help="which graph (default: full); frontend and encoder serve a live window",
    )


def run(arguments: argparse.Namespace) -> int:
    """Build what was asked for, one line for each engine."""
    from wav2edge.runtime import choice, engines
    from wav2edge.runtime.bundle.read import Bundle

    for name, value in (("--longest", arguments.longest), ("--window", arguments.window)):
        if value is not None and not 0 < value <= 3600:
            raise InputError(f"{name} {value:g}: give seconds above 0, at most 3600")
    bundle = Bundle.open(arguments.bundle)
    module = engines.get(arguments.engine)
    build = module.build
    if build is None:
        having = [name for name in engines.names() if engines.compiles(name)]
        raise InputError(f"engine {arguments.engine} needs no building; those that do are {', '.join(having)}")
    if arguments.variant is not None:
        variants = [bundle.variant(arguments.variant)]
    else:
        variants = [v for v in choice.ranked(bundle, arguments.engine) if module.refuses(bundle.spec, v) is None]
        if not variants:
            raise EngineError(f"engine {arguments.engine} takes none of the variants of {bundle.path}")
        variants = variants if arguments.all else variants[:1]
    options = engines.EngineOptions(
        device=arguments.device, longest_seconds=arguments.longest, window_seconds=arguments.window
    )
    for variant in variants:
        for stage in arguments.stage or ["full"]:
            started = time.monotonic()
            path = build(bundle, variant, stage, options, lambda text: print(f"wav2edge: {text}", file=sys.stderr))
            size = path.stat().st_size / 1e6
            print(f"{variant.name} {stage}: {size:.1f} MB in {time.monotonic() - started:.1f} s, {path}")
    if module.unavailable() is not None:
        print(
            f"wav2edge: built but not run: {module.unavailable()}. The selftest runs when the engine is first loaded.",
            file=sys.stderr,
        )
    return 0
