"""``wav2edge build BUNDLE --engine tensorrt``: compile a model for this machine's GPU, ahead of its first use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import EngineError, InputError

from . import _options, _terminal
from ._command import command, listed, option
from ._values import SECONDS, OneOf, Suggested

if TYPE_CHECKING:
    from wav2edge.runtime.bundle.spec import Stage

_SHAPES = "What to prepare for"


def _built() -> tuple[str, ...]:
    from wav2edge.runtime import engines

    return tuple(name for name in engines.names() if engines.compiles(name))


@command(
    "wav2edge build my-bundle --engine tensorrt  # the engine's best variant",
    "wav2edge build my-bundle --engine tensorrt --longest 10 --live-window 4  # for short clips and live captions",
)
@_options.bundle_argument("bundle to compile")
@option(
    "--engine",
    "engine to build for: tensorrt or tensorrt-rtx",
    group=_options.MODEL,
    metavar="ENGINE",
    required=True,
    type=Suggested(_built),
)
@listed(
    "--variant",
    "only these variants (default: the engine's best)",
    group=_options.MODEL,
    metavar="V[,V]",
    type=_options.VARIANT,
)
@option("--all", "every_variant", "every variant that the engine runs", group=_options.MODEL, is_flag=True)
@option("--device", "the GPU to build for (default: cuda:0)", group=_options.MODEL, metavar="DEVICE")
@option("--longest", "the longest chunk to expect, in seconds (default: 30)", group=_SHAPES, metavar="S", type=SECONDS)
@option(
    "--live-window",
    "build for a live window of this many seconds as well",
    group=_SHAPES,
    metavar="S",
    type=SECONDS,
    old=("--window",),
)
@listed(
    "--stage",
    "which graphs (default: full); frontend and encoder serve live captions",
    group=_SHAPES,
    metavar="full|frontend|encoder",
    type=OneOf(lambda: ("full", "frontend", "encoder")),
)
def run(
    bundle: str | None,
    model: str | None,
    engine: str,
    variant: tuple[str, ...],
    every_variant: bool,
    device: str | None,
    longest: float | None,
    live_window: float | None,
    stage: tuple[Stage, ...],
) -> None:
    """Compile a model for this machine's GPU, ahead of its first use.

    TensorRT compiles a model for the GPU that it runs on, which takes minutes. The result is kept in a cache folder,
    which every other command uses. Otherwise the first command that needs the engine compiles it.
    """
    from wav2edge.runtime import engines

    opened = _options.open_bundle(_options.which(bundle, model))
    module = engines.get(engine)
    build = module.build
    if build is None:
        raise InputError(f"engine {engine} needs no building; those that do are {', '.join(_built())}")
    if variant:
        variants = [opened.variant(name) for name in variant]
    else:
        # Whether an engine refuses a variant does not depend on this machine: building ahead needs no device.
        variants = [v for v in opened.ranked(engine) if engines.refusal(opened, engine, v) is None]
        if not variants:
            raise EngineError(f"engine {engine} runs none of the variants of {opened.path}")
        variants = variants if every_variant else variants[:1]
    options = engines.EngineOptions(device=device, longest_seconds=longest, window_seconds=live_window)
    for each in variants:
        stages: tuple[Stage, ...] = stage or ("full",)
        for name in stages:
            started = time.monotonic()
            path = build(opened, each, name, options, _terminal.note)
            size = path.stat().st_size / 1e6
            _terminal.out(f"{each.name} {name}: {size:.1f} MB in {time.monotonic() - started:.1f} s, {path}")
    if reason := module.unavailable():
        _terminal.note(f"built but not run: {reason}. The selftest runs when the engine is first loaded.")
