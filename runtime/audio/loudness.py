"""The mean and the spread of a recording's samples, by which every window of it is normalised alike.

Models of this family take input of zero mean and unit variance. Their graphs normalise each input alone. For a long
recording that would be each window alone, and a window with one loud passage would make the rest of it quiet. So
windows of a long recording are normalised here, by the whole recording, and enter the graph after its normalisation, at
the stage ``frontend``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VARIANCE_FLOOR = 1e-7
"""Added to the variance, in the graphs too, as transformers' Wav2Vec2FeatureExtractor does."""

_PIECE = 8192  # samples that are added up at once; OpenBLAS takes threads from 10 000 on


@dataclass(frozen=True)
class Loudness:
    """``(samples - mean) * scale`` has zero mean and unit variance over the recording."""

    mean: float
    """The mean of the samples."""

    scale: float
    """One over their standard deviation."""

    def normalized(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples [samples] as the stage ``frontend`` takes them."""
        values: NDArray[np.float32] = samples - np.float32(self.mean)
        values *= np.float32(self.scale)
        return values


class Meter:
    """Sums up samples that come in blocks; in float64, so that hours of sound lose no precision.

    They are added up in pieces of one length, so the result does not depend on the blocks. It is short, because
    OpenBLAS shares a longer product among threads, and on a busy machine that takes 100 times as long.
    """

    def __init__(self) -> None:
        """Begin with no samples."""
        self.samples = 0
        self._sums = (0.0, 0.0)  # of the samples and of their squares, in whole pieces
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples [samples]."""
        self.samples += len(samples)
        held = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        whole = len(held) // _PIECE * _PIECE
        for at in range(0, whole, _PIECE):
            self._sums = _added(self._sums, held[at : at + _PIECE])
        self._rest = held[whole:].copy()

    def loudness(self) -> Loudness:
        """The loudness of everything so far."""
        total, squares = _added(self._sums, self._rest)
        count = max(1, self.samples)
        mean = total / count
        return Loudness(mean, 1 / math.sqrt(max(0.0, squares / count - mean * mean) + VARIANCE_FLOOR))


def _added(sums: tuple[float, float], piece: NDArray[np.float32]) -> tuple[float, float]:
    values = piece.astype(np.float64)
    return sums[0] + float(values.sum()), sums[1] + float(values @ values)


def measure(blocks: Iterable[NDArray[np.float32]]) -> Loudness:
    """The loudness of a whole recording that comes in blocks [samples]."""
    meter = Meter()
    for block in blocks:
        meter.add(block)
    return meter.loudness()
