"""Few lengths, for engines that prepare themselves for each new length of an input and keep what they prepared.

OpenVINO keeps 5 to 6 MB for each length of an encoder's features in INT8. So these are padded, and the graph masks what
was added. Processors multiply whole groups of 16 rows faster: a clip takes no longer than with multiples of half a
second (25 frames), although more frames are added (benchmarks/lengths.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP, _LONG_STEP = 32, 64
_LONG = 512
"""Frames: multiples of ``_STEP`` up to ``_LONG`` (10 s where a frame is 20 ms), of ``_LONG_STEP`` above."""
_WINDOW = 1504
"""Frames of a window of 30 s, the default of long recordings: nothing up to it is padded to more."""


def rounded(frames: int) -> int:
    """The length to which features of so many frames are padded; 32 different ones up to 30 s."""
    step = _STEP if frames <= _LONG else _LONG_STEP
    padded = -(-frames // step) * step
    return min(padded, _WINDOW) if frames <= _WINDOW else padded


def extended(batch: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """A batch [rows, shorter, …] with zeros up to ``length``; ``np.pad`` takes twice as long."""
    whole = np.empty((len(batch), length, *batch.shape[2:]), np.float32)
    whole[:, : batch.shape[1]] = batch
    whole[:, batch.shape[1] :] = 0
    return whole
