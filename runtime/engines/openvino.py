"""OpenVINO: the fastest engine for symmetric INT8 (s8s8) on x86, and the one for Intel's graphics and NPUs.

One compiled model runs every length; each new one is prepared once, which takes up to as long as a run, and kept.

The pieces of a second and more that a clip's front end runs in (runtime/tiling.py) are of three lengths. In INT8 the
model is compiled for each of them when it first comes: 0.1 s at base shape, for a front end that takes 0.94 of the time
(_openvino_fixed.py), with the same results to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import tiling
from ..bundle.read import Bundle, Variant
from ..bundle.spec import ModelSpec, Stage
from ..errors import DeviceError
from . import (
    COMBINED,
    Build,
    EngineOptions,
    Purpose,
    Session,
    _openvino_bfloat16,
    _openvino_copies,
    _openvino_first,
    _openvino_fixed,
    _openvino_groups,
    _openvino_moves,
    _openvino_padding,
    _openvino_unsigned,
    may_use_cpu,
    on_cpu,
)
from ._library import library, not_installed
from ._openvino_compiler import FIXED, Compiler
from ._openvino_lengths import FixedLengths

if TYPE_CHECKING:
    from openvino import Model

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "openvino"
SHARED = False
KEEPS_LENGTHS = True
READS = frozenset({"threads", "device", "profiling", "keep_compiled", "must_keep"})
build: Build | None = None

DEVICE = "CPU"
_KEPT = 512
"""Kernels of a kind that are kept for lengths that were run before. The 32 lengths of base shape take 576; one that was
dropped is prepared again. With the library's default of 5000 memory goes on growing where batches, or graphs that mask
nothing, bring more lengths."""
_OF_STRETCHES: tuple[Stage, ...] = ("frontend", "tile")
"""The stages that give the features of one stretch of a clip after the other."""


def unavailable() -> str | None:
    """Why OpenVINO cannot run here; None when it can."""
    return not_installed("openvino", "openvino")


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """Bfloat16 needs a device that computes in it; fp16, INT8 and INT4 run on every one."""
    if variant.bfloat16 and "BF16" not in _capabilities(DEVICE):
        return "this CPU computes no bfloat16 (it needs avx512_bf16 or amx_bf16); use fp32 or int8-s8s8"
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> Session:
    """Load a stage on ``options.device`` (default: CPU).

    Raises EngineError, DeviceError naming the devices there are, and what ``options.must_keep`` says.
    """
    openvino = library("openvino")

    core = openvino.Core()
    device = DEVICE if on_cpu(options.device) else options.device or DEVICE
    family = _family(device)
    # Asking for the devices loads the plugins for graphics and NPUs, which take 19 MB.
    have = core.available_devices if family != DEVICE else [DEVICE]
    if family not in {*(name.split(".")[0] for name in have), *COMBINED}:
        raise DeviceError(f"openvino has no device {device} here; it has {', '.join(have) or 'none'}")
    settings = _settings(variant, stage, family, options)
    compiler = Compiler(core, bundle, variant, stage, device, settings, options.keep_compiled, options.must_keep)
    adapts = variant.precision == "int8" or variant.bfloat16
    if family != DEVICE and adapts and may_use_cpu(device) and _openvino_groups.needed():
        return compiler.session(lambda: _with_joined_groups(compiler.read(), variant.bfloat16))
    if family != DEVICE or not adapts:
        return compiler.session(compiler.read)
    prepared: list[Model] = []

    def adapted() -> Model:
        model = compiler.read()
        prepare(model, variant.bfloat16)
        if stage in _OF_STRETCHES and _openvino_fixed.gains(model) and _can_fix_lengths():
            prepared.append(model.clone())
        _openvino_copies.spare_copies(model)
        return model

    session = compiler.session(adapted)
    if not prepared:
        return session
    return FixedLengths(session, compiler, prepared[0], tiling.long_stretches(bundle.spec))


def _settings(variant: Variant, stage: Stage, family: str, options: EngineOptions) -> dict[str, str | int]:
    """OpenVINO's settings for a stage on a family of devices."""
    settings: dict[str, str | int] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Without the hint a CPU with bfloat16 computes fp32 variants in bfloat16. Statistics take longer in it.
        "INFERENCE_PRECISION_HINT": "bf16" if variant.bfloat16 and stage != "statistics" else "f32",
    }
    if family not in ("CPU", "AUTO"):
        settings["INFERENCE_PRECISION_HINT"] = "f32" if variant.precision == "fp32" else "f16"
    if family == "CPU":
        settings["CPU_RUNTIME_CACHE_CAPACITY"] = _KEPT
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.profiling:
        settings["PERF_COUNT"] = True
    return settings


def _with_joined_groups(model: Model, bfloat16: bool) -> Model:
    """A model with what this CPU would compute wrongly rewritten, and nothing else: another device may run it."""
    _openvino_groups.join_groups(model, bfloat16)
    return model


def _family(device: str) -> str:
    """``CPU`` of ``CPU``, ``GPU`` of ``GPU.1``, ``AUTO`` of ``AUTO:GPU,CPU``."""
    return device.split(".")[0].split(":")[0]


def adapt(model: Model, bfloat16: bool = False) -> None:
    """Rewrite an INT8 or bfloat16 model in place for this CPU, where that is faster or needed for the right numbers.

    bfloat16: what is not INT8 will be computed in bfloat16. Raises EngineError for what this CPU computes wrongly.
    """
    prepare(model, bfloat16)
    _openvino_copies.spare_copies(model)


def prepare(model: Model, bfloat16: bool = False) -> None:
    """``adapt`` without the last rewrite, which a model for a fixed length gets after one of its own."""
    if _openvino_groups.needed():
        _openvino_groups.join_groups(model, bfloat16)
    if not bfloat16:
        _openvino_first.quantize_apart(model)
    _openvino_padding.pad_before(model)
    if _openvino_unsigned.helps():
        _openvino_unsigned.read_unsigned(model)
    _openvino_moves.move_integers(model)
    if bfloat16:
        _openvino_bfloat16.quantize_elementwise(model)


def _can_fix_lengths() -> bool:
    """Whether this CPU is of those where it was found to be faster, and OpenVINO knows the settings."""
    openvino = library("openvino")

    if not _openvino_unsigned.helps():
        return False
    try:
        openvino.Core().set_property(DEVICE, FIXED)
    except RuntimeError:
        return False
    return True


def _capabilities(device: str) -> list[str]:
    openvino = library("openvino")

    return list(openvino.Core().get_property(device, "OPTIMIZATION_CAPABILITIES"))
