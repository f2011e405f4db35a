"""ONNX Runtime's TensorRT provider: TensorRT through ONNX Runtime, for machines that have onnxruntime-gpu.

The provider builds an engine again for each shape that no profile covers (a stall of minutes), so it gets one session
for each narrow range of lengths, with that range as explicit profile, an engine cache and a timing cache. Where
NVIDIA's Python package is installed, the engine ``tensorrt`` does the same directly.
https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import cache
from ..bundle.read import Bundle, Variant
from ..bundle.spec import STAGES, ModelSpec, Stage
from ..errors import EngineError
from . import EVERY_OPTION, Arrays, Build, EngineOptions, Purpose, _gpu, _ort, onnxruntime_cuda
from ._library import library
from ._profiles import ShapeProfile, output_steps, pick, plan
from ._tensorrt import flavor

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "onnxruntime"
SHARED = False
KEEPS_LENGTHS = False
READS = EVERY_OPTION
build: Build | None = None


PROVIDER = "TensorrtExecutionProvider"
_LIBRARY = "libnvinfer.so.10"
"""What the provider of ONNX Runtime 1.31 links, read from its shared object; TensorRT 11 alone does not serve it."""


def unavailable() -> str | None:
    """Why the provider cannot run here; None when it can."""
    if reason := onnxruntime_cuda.unavailable() or _ort.provider_missing(PROVIDER, "use the engine tensorrt"):
        return reason
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return (
            f"its TensorRT provider needs {_LIBRARY}, which does not load here; "
            'install TensorRT 10 (`pip install "tensorrt<11"`) or use the engine tensorrt'
        )
    return None


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """Takes what TensorRT takes."""
    return flavor.refuses(spec, variant)


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> BucketedSession:
    """Prepare a stage; each range of lengths is built, or read from the cache, when a clip first needs it."""
    return BucketedSession(bundle, variant, stage, options)


def provider_options(
    bundle: Bundle, variant: Variant, stage: Stage, profile: ShapeProfile, rest: tuple[int, ...], device: int
) -> Mapping[str, str]:
    """The provider's settings for one range of lengths. rest: the input's sizes after the time axis."""
    ort = library("onnxruntime")

    values, lengths = STAGES[stage]

    def shapes(steps: int, batch: int) -> str:
        return f"{values}:{'x'.join(map(str, (batch, steps, *rest)))},{lengths}:{batch}"

    # The provider checks GPU and graph itself; the key holds the libraries' versions.
    folder = cache.directory(
        "onnxruntime-tensorrt",
        cache.key(
            {
                "graph": [variant.sha256[name] for name in (variant.graphs[stage], *variant.data)],
                "onnxruntime": ort.__version__,
                "profile": [profile.shortest, profile.longest, profile.batch],
            }
        ),
    )
    return {
        "device_id": str(device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache.directory("onnxruntime-tensorrt")),
        "trt_profile_min_shapes": shapes(profile.shortest, 1),
        "trt_profile_opt_shapes": shapes(profile.longest, profile.batch),
        "trt_profile_max_shapes": shapes(profile.longest, profile.batch),
        "trt_fp16_enable": str(int(variant.precision == "fp16")),
        "trt_bf16_enable": str(int(variant.precision == "bf16")),
        "trt_int8_enable": str(int(variant.precision == "int8")),
    }


class BucketedSession:
    """One ONNX Runtime session for each range of lengths, opened on first use."""

    def __init__(self, bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> None:
        """Prepare; nothing is built yet."""
        self._bundle, self._variant, self._stage, self._options = bundle, variant, stage, options
        self._profiles = plan(bundle.spec, stage, options)
        self._sessions: dict[int, _ort.OnnxRuntimeSession] = {}
        self._closed = False
        self._lock = threading.Lock()
        spec = bundle.spec
        self.inputs = STAGES[stage]
        self.outputs = ("features", "feature_lengths") if stage == "frontend" else spec.output_names

    def run(self, feeds: Arrays) -> Arrays:
        """Run each clip of the batch in its range; raises EngineError."""
        if self._closed:
            raise EngineError("the session is closed")
        values, lengths = (feeds[name] for name in STAGES[self._stage])
        frames = output_steps(self._bundle.spec, self._stage, values.shape[1])
        parts = [self._run_clip(values[i : i + 1], lengths[i : i + 1], frames) for i in range(len(values))]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def close(self) -> None:
        """Close every session."""
        self._closed = True
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _run_clip(
        self, values: NDArray[np.generic], lengths: NDArray[np.generic], frames: int
    ) -> dict[str, NDArray[np.generic]]:
        length = max(1, int(lengths[0]))
        index = pick(self._profiles, length)
        steps = self._profiles[index].padded(length)
        clip = np.zeros((1, steps, *values.shape[2:]), values.dtype)
        kept = min(steps, values.shape[1])
        clip[:, :kept] = values[:, :kept]
        names = STAGES[self._stage]
        outputs = self._session(index, values.shape[2:]).run({names[0]: clip, names[1]: lengths})
        padded = output_steps(self._bundle.spec, self._stage, steps)
        return {name: _fitted(array, padded, frames) for name, array in outputs.items()}

    def _session(self, index: int, rest: tuple[int, ...]) -> _ort.OnnxRuntimeSession:
        with self._lock:
            if index not in self._sessions:
                device = _gpu.index(self._options.device)
                onnxruntime_cuda.preload()
                settings = provider_options(
                    self._bundle, self._variant, self._stage, self._profiles[index], rest, device
                )
                providers = [(PROVIDER, settings), (onnxruntime_cuda.PROVIDER, {"device_id": str(device)})]
                raw = _ort.open_session(self._bundle, self._variant, self._stage, self._options, providers)
                self._sessions[index] = _ort.OnnxRuntimeSession(raw, self._stage)
            return self._sessions[index]


def _fitted(array: NDArray[np.generic], padded: int, frames: int) -> NDArray[np.generic]:
    """An output cut, or padded with zeros, from the run's frames to the batch's."""
    if array.ndim < 3 or array.shape[1] != padded:
        return array
    if padded >= frames:
        return array[:, :frames]
    return np.pad(array, [(0, 0), (0, frames - padded)] + [(0, 0)] * (array.ndim - 2))
