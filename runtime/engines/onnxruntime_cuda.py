"""ONNX Runtime on an NVIDIA GPU: inputs and outputs stay bound, repeated shapes replay a CUDA graph.

https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

import contextlib
import io
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import remedies
from ..bundle.read import Bundle, Variant
from ..bundle.spec import ModelSpec, Stage
from ..errors import EngineError, first_line
from . import EVERY_OPTION, Arrays, Build, EngineOptions, Purpose, _gpu, _ort
from ._library import library, not_installed
from ._running import running

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding, OrtValue, RunOptions

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "onnxruntime"
SHARED = False
KEEPS_LENGTHS = False
READS = EVERY_OPTION
build: Build | None = None


PROVIDER = "CUDAExecutionProvider"
_GRAPHS = 8
"""Shapes that are captured as CUDA graphs: each holds its own inputs and outputs on the device."""
_CAPTURE_AFTER = 2
_NO_GRAPH = "-1"


def unavailable() -> str | None:
    """Why ONNX Runtime cannot use a GPU here; None when it can."""
    return (
        not_installed("onnxruntime", "gpu")
        or _gpu.missing()
        or _ort.provider_missing(
            PROVIDER,
            "both packages own one module: `pip uninstall -y onnxruntime onnxruntime-gpu`, "
            f"then `{remedies.install('gpu')}`",
        )
    )


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """INT8 graphs run on CUDA as pairs of float conversions: slower than fp32, so they are refused."""
    if variant.precision in ("int8", "int4"):
        return "ONNX Runtime's CUDA kernels do not compute in integers; use fp16, or the engine tensorrt for int8-s8s8"
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> CudaSession:
    """Load a stage on the GPU ``options.device`` (``cuda:0``); raises EngineError where any of it would not run there.

    With CUDA graphs where ONNX Runtime accepts the graph for them, else without.
    """
    device = _gpu.index(options.device)
    preload()
    settings = {"device_id": str(device), "use_tf32": "0", "cudnn_conv_use_max_workspace": "1"}
    try:
        raw = _ort.open_session(bundle, variant, stage, options, [(PROVIDER, {**settings, "enable_cuda_graph": "1"})])
        graphs = True
    except EngineError:
        # Shape arithmetic that it keeps on the CPU rules graphs out for some models; the reason of a real
        # failure comes again, from this second try.
        raw = _ort.open_session(bundle, variant, stage, options, [(PROVIDER, settings)])
        graphs = False
    return CudaSession(raw, stage, device, graphs=graphs)


def preload() -> None:
    """Load CUDA and cuDNN from pip's packages (``onnxruntime-gpu[cuda,cudnn]``); the system's need no preloading."""
    ort = library("onnxruntime")

    if hasattr(ort, "preload_dlls"):  # since 1.21; it prints what it does not find, and the session then fails
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


@dataclass
class _Shape:
    """One input shape in use. values: inputs and outputs on the device, once it repeats; graph: its number."""

    runs: int = 0
    binding: IOBinding | None = None
    values: dict[str, OrtValue] | None = None
    graph: str = _NO_GRAPH


class CudaSession(_ort.OnnxRuntimeSession):
    """An ONNX Runtime session on a GPU. Calls from several threads take turns."""

    def __init__(self, session: InferenceSession, stage: Stage, device: int, *, graphs: bool) -> None:
        """Wrap a session; ``graphs`` says whether it was opened for CUDA graphs."""
        super().__init__(session, stage)
        self._device = device
        self._graphs = graphs
        self._shapes: dict[tuple[tuple[int, ...], ...], _Shape] = {}
        self._lock = threading.Lock()

    def run(self, feeds: Arrays) -> Arrays:
        """Run once; raises EngineError."""
        key = tuple(feeds[name].shape for name in self.inputs)
        with self._lock, running:
            raw = self.raw
            if raw is None:
                raise EngineError("the session is closed")
            shape = self._shapes.setdefault(key, _Shape())
            try:
                shape.runs += 1
                if shape.values is not None:
                    return self._replay(raw, shape, feeds)
                outputs = self._first(raw, feeds)
                if shape.runs >= _CAPTURE_AFTER and self._bound() < _GRAPHS:
                    self._bind(raw, shape, feeds, outputs)
                return outputs
            except Exception as error:  # onnxruntime's exceptions share no public base class
                raise EngineError(f"onnxruntime failed on the GPU: {first_line(error)}") from error

    def close(self) -> None:
        """Drop the session and what it holds on the device."""
        with self._lock:
            self._shapes.clear()
            super().close()

    def _first(self, raw: InferenceSession, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
        """A shape that may not come again: outputs are allocated by the session."""
        binding = raw.io_binding()
        for name in self.inputs:
            binding.bind_cpu_input(name, np.ascontiguousarray(feeds[name]))
        for name in self.outputs:
            binding.bind_output(name, "cpu")
        raw.run_with_iobinding(binding, self._options(_NO_GRAPH))
        return dict(zip(self.outputs, binding.copy_outputs_to_cpu()))

    def _bind(self, raw: InferenceSession, shape: _Shape, feeds: Arrays, outputs: Arrays) -> None:
        """Give a shape that repeats fixed addresses on the device, which a CUDA graph needs."""
        ort = library("onnxruntime")

        values, binding = {}, raw.io_binding()
        for name in self.inputs:
            values[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(feeds[name]), "cuda", self._device)
            binding.bind_ortvalue_input(name, values[name])
        for name in self.outputs:
            array = outputs[name]
            values[name] = ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, "cuda", self._device)
            binding.bind_ortvalue_output(name, values[name])
        if self._graphs:
            shape.graph = str(self._bound() + 1)
        shape.binding, shape.values = binding, values

    def _replay(self, raw: InferenceSession, shape: _Shape, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
        assert shape.values is not None
        for name in self.inputs:
            shape.values[name].update_inplace(np.ascontiguousarray(feeds[name]))
        raw.run_with_iobinding(shape.binding, self._options(shape.graph))
        return {name: shape.values[name].numpy() for name in self.outputs}

    def _options(self, graph: str) -> RunOptions:
        ort = library("onnxruntime")

        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", graph)
        return options

    def _bound(self) -> int:
        return sum(1 for shape in self._shapes.values() if shape.values is not None)
