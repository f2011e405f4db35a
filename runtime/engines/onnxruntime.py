"""ONNX Runtime on the CPU, the engine of the extra [cpu].

Variants with unsigned activations (u8s8) run best here: its CPU kernels fuse them, and they do not fuse s8s8.
Another execution provider of the installed ONNX Runtime is chosen by name with ``EngineOptions.device``
(``CoreML``, ``XNNPACK``, ``ACL`` …); one that would fall back to the CPU is an error.
"""

from __future__ import annotations

from ..bundle.read import Bundle, Variant
from ..bundle.spec import ModelSpec, Stage
from ..errors import EngineError
from . import Build, EngineOptions, Purpose, _ort
from ._library import library
from ._ort import OnnxRuntimeSession

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "onnxruntime"
SHARED = True
KEEPS_LENGTHS = False
READS = frozenset({"threads", "device", "profiling", "keep_memory", "spin"})
build: Build | None = None


PROVIDER = _ort.CPU
_SUFFIX = "ExecutionProvider"


def unavailable() -> str | None:
    """Why ONNX Runtime cannot run here; None when it can."""
    return _ort.not_installed("cpu")


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """ONNX Runtime's CPU has no kernels for bfloat16."""
    if variant.bfloat16:
        return "its CPU kernels have no bfloat16; use fp32 or an int8 variant"
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> OnnxRuntimeSession:
    """Load a stage on the CPU, or on the provider that ``options.device`` names; raises EngineError."""
    provider = _provider(options.device)
    session = _ort.open_session(bundle, variant, stage, options, [(provider, {})])
    return OnnxRuntimeSession(session, stage, options.keep_memory or provider != PROVIDER)


def _provider(device: str | None) -> str:
    if device is None:
        return PROVIDER
    ort = library("onnxruntime")

    have = {name.removesuffix(_SUFFIX).lower(): name for name in ort.get_available_providers()}
    try:
        return str(have[device.removesuffix(_SUFFIX).lower()])
    except KeyError:
        raise EngineError(
            f"onnxruntime has no provider {device!r} here; it has {', '.join(sorted(have.values()))}"
        ) from None
