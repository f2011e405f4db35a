"""ONNX Runtime on the CPU: the engine that is always there.

Variants with unsigned activations (u8s8) run best here: its CPU kernels fuse them, and they do not fuse s8s8.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from ..bundle import Bundle, Variant
from ..errors import EngineError
from ..spec import STAGES, ModelSpec
from . import Arrays, EngineOptions

PROVIDER = "CPUExecutionProvider"
_INSTALL = 'install it with `pip install "wav2edge[cpu]"`'


def unavailable() -> str | None:
    """Why ONNX Runtime cannot run here; None when it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime is not installed; {_INSTALL}"
    return None


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """ONNX Runtime's CPU has no kernels for bfloat16 graphs."""
    if variant.precision == "bf16":
        return "its CPU kernels have no bfloat16; use fp32 or an int8 variant"
    return None


def load(bundle: Bundle, variant: Variant, stage: str, options: EngineOptions) -> OnnxRuntimeSession:
    """Load a stage on the CPU; raises EngineError when ONNX Runtime refuses the graph."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # One graph node at a time: the family's graphs are a chain, parallel execution only costs threads.
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if options.profiling:
        settings.enable_profiling = True
    try:
        session = ort.InferenceSession(str(bundle.graph(variant, stage)), settings, providers=[PROVIDER])
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise EngineError(f"onnxruntime cannot load {variant.graphs[stage]}: {_first_line(error)}") from error
    return OnnxRuntimeSession(session, stage)


class OnnxRuntimeSession:
    """A loaded ONNX Runtime session; ``raw`` is the library's own object."""

    def __init__(self, session: Any, stage: str) -> None:
        """Wrap a session; inputs that the graph does not use (lengths of a layer-norm frontend) are left out."""
        self.raw = session
        names = {item.name for item in session.get_inputs()}
        self.inputs = tuple(name for name in STAGES[stage] if name in names)
        self.outputs = tuple(item.name for item in session.get_outputs())

    def run(self, feeds: Arrays) -> Arrays:
        """Run once; raises EngineError."""
        if self.raw is None:
            raise EngineError("the session is closed")
        try:
            values = self.raw.run(None, {name: feeds[name] for name in self.inputs})
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise EngineError(f"onnxruntime failed: {_first_line(error)}") from error
        return dict(zip(self.outputs, values))

    def close(self) -> None:
        """Drop the session."""
        self.raw = None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
