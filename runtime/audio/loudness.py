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


@dataclass(frozen=True)
class Loudness:
    """``(samples - mean) * scale`` has zero mean and unit variance over the recording."""

    mean: float
    """The mean of the samples."""

    scale: float
    """One over their standard deviation."""

    def normalized(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples [samples] as the stage ``frontend`` takes them."""
        values: NDArray[np.float32] = (samples - np.float32(self.mean)) * np.float32(self.scale)
        return values


class Meter:
    """Sums up samples that come in blocks; in float64, so that hours of sound lose no precision."""

    def __init__(self) -> None:
        """Begin with no samples."""
        self.samples = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples [samples]."""
        values = samples.astype(np.float64)
        self.samples += len(values)
        self._sum += float(values.sum())
        # Not values @ values: OpenBLAS shares that among threads, which on a busy machine takes 100 times as long.
        self._squares += float(np.einsum("i,i->", values, values))

    def loudness(self) -> Loudness:
        """The loudness of everything so far."""
        count = max(1, self.samples)
        mean = self._sum / count
        return Loudness(mean, 1 / math.sqrt(max(0.0, self._squares / count - mean * mean) + VARIANCE_FLOOR))


def measure(blocks: Iterable[NDArray[np.float32]]) -> Loudness:
    """The loudness of a whole recording that comes in blocks [samples]."""
    meter = Meter()
    for block in blocks:
        meter.add(block)
    return meter.loudness()
