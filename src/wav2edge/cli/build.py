"""``wav2edge build BUNDLE --engine tensorrt``: compile a model for this machine, ahead of its first use."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from wav2edge.runtime.errors import EngineError, InputError

from . import _options, _terminal
from ._command import command, listed, option
from ._values import SECONDS, OneOf, Suggested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wav2edge.runtime.bundle.read import Bundle, Variant
    from wav2edge.runtime.bundle.spec import Stage

_SHAPES = "What to prepare for"


def _built() -> tuple[str, ...]:
    from wav2edge.runtime import engines

    return tuple(name for name in engines.names() if engines.compiles(name) or _keeps_compiled(name))


def _keeps_compiled(engine: str) -> bool:
    """Whether an engine for CPUs keeps what it compiles when it loads, in the cache, for the next process."""
    from wav2edge.runtime import engines

    return engine in engines.DEFAULT_ORDER and "keep_compiled" in engines.get(engine).READS


@command(
    "wav2edge build my-bundle --engine tensorrt  # the engine's best variant",
    "wav2edge build my-bundle --engine tensorrt --stage frontend,encoder --longest 20 --live-window 5  # live captions",
    "wav2edge build my-bundle --engine openvino  # what the first start would compile",
)
@_options.bundle_argument("bundle to compile")
@option(
    "--engine",
    "engine to build for: tensorrt, tensorrt-rtx or openvino",
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
@option("--device", "the device to build for (default: cuda:0, openvino: CPU)", group=_options.MODEL, metavar="DEVICE")
@_options.threads
@option(
    "--longest",
    "tensorrt: the longest chunk to expect, in seconds (default: 30)",
    group=_SHAPES,
    metavar="S",
    type=SECONDS,
)
@option(
    "--live-window",
    "tensorrt: build for a live window of this many seconds as well",
    group=_SHAPES,
    metavar="S",
    type=SECONDS,
    old=("--window",),
)
@listed(
    "--stage",
    "tensorrt: which graphs (default: full); frontend and encoder serve live captions",
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
    threads: int | None,
    longest: float | None,
    live_window: float | None,
    stage: tuple[Stage, ...],
) -> None:
    """Compile a model for this machine, ahead of its first use.

    TensorRT compiles a model for the GPU that it runs on, which takes minutes; OpenVINO compiles for the CPU in
    seconds. The result is kept in a cache folder, which every other command uses. Otherwise the first command that
    needs the engine compiles it.
    """
    from wav2edge.runtime import engines

    if variant and every_variant:
        raise InputError("--variant and --all both say what is built; give one")
    opened = _options.open_bundle(_options.which(bundle, model))
    module = engines.get(engine)
    if _keeps_compiled(engine):
        if stage or longest is not None or live_window is not None:
            raise InputError(
                f"--longest, --live-window and --stage are not for {engine}, which compiles for every length"
            )
        _load_once(opened, engine, variant, every_variant, device, threads)
        return
    build = module.build
    if build is None:
        raise InputError(f"engine {engine} needs no building; those that do are {', '.join(_built())}")
    if threads is not None:
        raise InputError(f"--threads is not for {engine}, which compiles for a GPU")
    options = engines.EngineOptions(device=device, longest_seconds=longest, window_seconds=live_window)
    for each in _chosen(opened, engine, variant, every_variant):
        stages: tuple[Stage, ...] = stage or ("full",)
        for name in stages:
            started = time.monotonic()
            path = build(opened, each, name, options, _terminal.note)
            size = path.stat().st_size / 1e6
            _terminal.out(f"{each.name} {name}: {size:.1f} MB in {time.monotonic() - started:.1f} s, {path}")
    if reason := module.unavailable():
        _terminal.note(f"built but not run: {reason}. The selftest runs when the engine is first loaded.")


def _chosen(bundle: Bundle, engine: str, names: Sequence[str], every: bool) -> list[Variant]:
    """The variants to build: those named, else the best that the engine takes, or all of them."""
    from wav2edge.runtime import engines

    if names:
        return [bundle.variant(name) for name in names]
    # Whether an engine refuses a variant does not depend on this machine: building ahead needs no device.
    variants = [each for each in bundle.ranked(engine) if engines.refusal(bundle, engine, each) is None]
    if not variants:
        raise EngineError(f"engine {engine} runs none of the variants of {bundle.path}")
    return variants if every else variants[:1]


def _load_once(
    bundle: Bundle, engine: str, names: Sequence[str], every: bool, device: str | None, threads: int | None
) -> None:
    """Load what recordings and live captions load, so that the engine keeps what it compiles.

    Raises InputError where it cannot be kept.
    """
    from wav2edge.devices.open import open_model
    from wav2edge.runtime import cache

    wanted = [each.name for each in _chosen(bundle, engine, names, every)] if names or every else [None]
    for name in wanted:
        started = time.monotonic()
        with open_model(bundle, engine, name, threads=threads, device=device) as model:
            model.prepare(options=dataclasses.replace(model.options, must_keep=True))
            known = cache.compiled(engine, model.variant.sha256)
            size = sum(path.stat().st_size for path in known.rglob("*.blob")) / 1e6
            _terminal.out(f"{model.variant.name}: {size:.1f} MB in {time.monotonic() - started:.1f} s, {known}")
