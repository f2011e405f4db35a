"""Silero's voice activity network on the onnxruntime or OpenVINO that is installed, on one thread.

The network (silero-vad 6.2.3, MIT, data/silero_vad_LICENSE.txt) takes 512 samples at 16 kHz with the 64 before them and
gives the probability of speech. Its file's SHA-256 is checked before it is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from .vad import VAD_WINDOW

SHA256 = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"
"""Of the file as silero-vad 6.2.3 ships it, src/silero_vad/data/silero_vad_16k_op15.onnx."""

_CONTEXT = 64
_MODEL = "silero_vad_16k_op15.onnx"
_RATE = 16000

_Run = Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From a window with its context [1, 576] and the state [2, 1, 128] to the probability [1, 1] and the next state."""


class Silero:
    """Silero's network as a VoiceActivityModel.

    Instances share the network and have a recurrent state each. Raises EngineError when neither onnxruntime nor
    openvino is installed, or when the network's file is not the one that was shipped.
    """

    def __init__(self) -> None:
        """Load the network, once per process."""
        self._run = _network()()
        self.reset()

    def reset(self) -> None:
        """Forget the stream so far."""
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), np.float32)
        self._input: NDArray[np.float32] = np.zeros((1, _CONTEXT + VAD_WINDOW), np.float32)

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in the next window [512]."""
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = window
        probability, self._state = self._run(self._input, self._state)
        return float(probability[0, 0])


def verified(path: Path) -> bytes:
    """The network's file; raises EngineError when its SHA-256 is not the recorded one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: the speech detector's network cannot be read ({error.strerror})") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise EngineError(
            f"{path}: the speech detector's network was changed (SHA-256 {digest[:12]}…, expected {SHA256[:12]}…); "
            "install wav2edge again"
        )
    return data


@lru_cache(maxsize=1)
def _network() -> Callable[[], _Run]:
    path = Path(str(files("wav2edge.runtime.live") / "data" / _MODEL))
    if importlib.util.find_spec("onnxruntime") is not None:
        return _with_onnxruntime(verified(path))
    if importlib.util.find_spec("openvino") is not None:
        return _with_openvino(verified(path))
    raise EngineError('speech detection needs onnxruntime or openvino; install one with `pip install "wav2edge[cpu]"`')


def _with_onnxruntime(network: bytes) -> Callable[[], _Run]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    rate = np.array(_RATE, dtype=np.int64)

    def run(values: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        probability, after = session.run(None, {"input": values, "state": state, "sr": rate})
        return probability, after

    return lambda: run


def _with_openvino(network: bytes) -> Callable[[], _Run]:
    import openvino

    core = openvino.Core()
    model = core.read_model(model=network, weights=b"")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
    rate = np.array(_RATE, dtype=np.int64)
    names = {name for port in compiled.inputs for name in port.names}

    def make() -> _Run:
        request: Any = compiled.create_infer_request()

        def run(
            values: NDArray[np.float32], state: NDArray[np.float32]
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            feeds = {"input": values, "state": state, **({"sr": rate} if "sr" in names else {})}
            outputs = request.infer(feeds)
            return outputs[0].copy(), outputs[1].copy()

        return run

    return make
