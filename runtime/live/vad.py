"""Is anybody speaking? Silero's detector with hysteresis.

The network (silero-vad 6.2.3, MIT, data/silero_vad_LICENSE.txt) looks at 512 samples at 16 kHz with 64 before them and
gives the probability of speech; it runs on the onnxruntime or the OpenVINO that is there, on one thread.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError

WINDOW = 512
_CONTEXT = 64
_MODEL = "silero_vad_16k_op15.onnx"
_RATE = 16000


class Detector(Protocol):
    """Gives the probability of speech of one window after the other."""

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in float32 [512] at 16 kHz, which follows the window before."""

    def reset(self) -> None:
        """Forget what was heard: the next window follows a gap."""


class Silero:
    """Silero's network as a Detector; raises EngineError when neither onnxruntime nor openvino is installed.

    Several of them share the network and nothing of what they heard.
    """

    def __init__(self) -> None:
        """Load the network, unless it is there already."""
        self._run = _network()()
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), np.float32)
        self._input: NDArray[np.float32] = np.zeros((1, _CONTEXT + WINDOW), np.float32)

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in the next window."""
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = window
        probability, self._state = self._run(self._input, self._state)
        return float(probability[0, 0])


_Run = Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[Any, Any]]


@lru_cache(maxsize=1)
def _network() -> Callable[[], _Run]:
    path = Path(str(files("wav2edge.runtime.live") / "data" / _MODEL))
    if importlib.util.find_spec("onnxruntime") is not None:
        return _with_onnxruntime(path)
    if importlib.util.find_spec("openvino") is not None:
        return _with_openvino(path)
    raise EngineError('speech detection needs onnxruntime or openvino; install one with `pip install "wav2edge[cpu]"`')


def _with_onnxruntime(path: Path) -> Callable[[], _Run]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rate = np.array(_RATE, dtype=np.int64)

    def run(values: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[Any, Any]:
        probability, after = session.run(None, {"input": values, "state": state, "sr": rate})
        return probability, after

    return lambda: run


def _with_openvino(path: Path) -> Callable[[], _Run]:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
    rate = np.array(_RATE, dtype=np.int64)
    names = {name for port in compiled.inputs for name in port.names}

    def make() -> _Run:
        request = compiled.create_infer_request()

        def run(values: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[Any, Any]:
            feeds = {"input": values, "state": state, **({"sr": rate} if "sr" in names else {})}
            outputs = request.infer(feeds)
            return outputs[0].copy(), outputs[1].copy()

        return run

    return make


@dataclass(frozen=True)
class VadSettings:
    """When speech begins and ends.

    threshold: probability at which speech begins; it ends below ``threshold - hysteresis``.
    onset: seconds of speech before it counts. Times are in seconds.
    """

    threshold: float = 0.5
    hysteresis: float = 0.15
    onset: float = 0.064


@dataclass(frozen=True)
class Turn:
    """A window's verdict. start, end: absolute samples; onset: where the present run of voice began (None: quiet)."""

    start: int
    end: int
    speaking: bool
    onset: int | None
    probability: float


class SpeechDetector:
    """Cuts a stream of samples into windows, asks the Detector about each, and applies hysteresis."""

    def __init__(self, detector: Detector, settings: VadSettings | None = None) -> None:
        """Start quiet."""
        self.detector = detector
        self.settings = settings or VadSettings()
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._next = 0
        self.speaking = False
        self._onset: int | None = None

    def reset(self, start: int) -> None:
        """Begin again at an absolute sample: what comes does not follow what was."""
        self.detector.reset()
        self._rest = np.zeros(0, np.float32)
        self._next = start
        self.speaking = False
        self._onset = None

    def push(self, samples: NDArray[np.float32]) -> list[Turn]:
        """The verdicts on all windows that are now complete."""
        joined = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        count = len(joined) // WINDOW
        turns = [self._turn(joined[i * WINDOW : (i + 1) * WINDOW]) for i in range(count)]
        self._rest = joined[count * WINDOW :].copy()
        return turns

    def _turn(self, window: NDArray[np.float32]) -> Turn:
        settings = self.settings
        probability = self.detector(window)
        start, self._next = self._next, self._next + WINDOW
        if probability >= settings.threshold:
            if self._onset is None:
                self._onset = start
            if self._next - self._onset >= settings.onset * _RATE:
                self.speaking = True
        elif not self.speaking or probability < settings.threshold - settings.hysteresis:
            self._onset = None
            self.speaking = False
        return Turn(start, self._next, self.speaking, self._onset, probability)
