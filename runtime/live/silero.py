"""Silero's voice activity network on the onnxruntime or OpenVINO that is installed, on one thread.

The network (silero-vad 6.2.3 rewritten by recipes/silero.py, MIT, data/silero_vad_LICENSE.txt) takes 512 samples at
16 kHz with the 64 before them and gives the probability of speech. Its file's SHA-256 is checked before it is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..engines import Network, open_network
from ..errors import EngineError
from .vad import VAD_WINDOW

SHA256 = "533fc4d6cd978f5d930ed1de1ee102d4743c297f322f00327d4e0611dd5c097d"
"""Of the file that recipes/silero.py makes of the one in silero-vad 6.2.3."""

_CONTEXT = 64
_MODEL = "silero_vad_16k.onnx"


class Silero:
    """Silero's network as a VoiceActivityModel.

    Instances share the network and have a recurrent state each. state [2, 1, 128], input [1, 576]: what the network is
    run on next, and the last 64 and 512 samples. Raises EngineError when neither onnxruntime nor
    openvino is installed, or when the network's file is not the one that was shipped.
    """

    def __init__(self) -> None:
        """Load the network, once per process."""
        self._run = _network()()
        self.reset()

    def reset(self) -> None:
        """Forget the stream so far."""
        self.state: NDArray[np.float32] = np.zeros((2, 1, 128), np.float32)
        self.input: NDArray[np.float32] = np.zeros((1, _CONTEXT + VAD_WINDOW), np.float32)

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in the next window [512]."""
        self.extend(window)
        probability, self.state = self._run({"input": self.input, "state": self.state})
        return float(probability[0, 0])

    def extend(self, window: NDArray[np.float32]) -> None:
        """Put the next window [512] after the end of the last one, in ``input``."""
        self.input[0, :_CONTEXT] = self.input[0, -_CONTEXT:]
        self.input[0, _CONTEXT:] = window


class SileroBatch:
    """The networks of several streams run as one batch; for one thread."""

    def __init__(self) -> None:
        """Load the network, once per process."""
        self._run = _network()()

    def __call__(self, streams: Sequence[Silero], windows: Sequence[NDArray[np.float32]]) -> list[float]:
        """The probability of speech in the next window [512] of each stream."""
        for stream, window in zip(streams, windows):
            stream.extend(window)
        inputs = np.concatenate([stream.input for stream in streams])
        states = np.concatenate([stream.state for stream in streams], axis=1)
        probabilities, states = self._run({"input": inputs, "state": states})
        for index, stream in enumerate(streams):
            stream.state = states[:, index : index + 1].copy()
        return [float(value) for value in probabilities[:, 0]]


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
def _network() -> Callable[[], Network]:
    return open_network(verified(Path(str(files("wav2edge.runtime.live") / "data" / _MODEL))))
