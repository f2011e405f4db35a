"""Speaker embeddings (x-vectors; Snyder et al., "X-vectors: robust DNN embeddings for speaker recognition", 2018).

Two recordings are compared by the cosine of their embeddings. A recording that is longer than a chunk is embedded chunk
by chunk; the embeddings are brought to unit length and averaged, each chunk weighted by its length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

DEFAULT_THRESHOLD = 0.86
"""The cosine that transformers' examples for WavLM and UniSpeech-SAT speaker models use, where a bundle names none
(https://huggingface.co/microsoft/wavlm-base-plus-sv, "the optimal threshold is dataset-dependent")."""
_EXACT = 1e-6
"""The precision of a cosine of float32 numbers."""


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and how often it was wrong on a list of pairs."""

    false_accept_rate: float
    """The largest share of pairs of different speakers that it was to accept, from 0 to 1."""
    threshold: float
    """The lowest cosine that keeps to that."""
    false_accepts: int
    """How many pairs of different speakers it accepted."""
    different: int
    """Of how many."""
    misses: int
    """How many pairs of the same speaker it rejected."""
    same: int
    """Of how many."""
    pairs: str
    """What they were: a manifest's file name."""
    variant: str
    """The variant that was measured."""

    def __str__(self) -> str:
        """As ``accepts 1.0 % of 400 pairs of different speakers and rejects 7.5 % of 200 …``."""
        return (
            f"accepts {100 * self.false_accepts / self.different:.3g}\u00a0% of {self.different} pairs of different "
            f"speakers and rejects {100 * self.misses / self.same:.3g}\u00a0% of {self.same} pairs of the same in "
            f"{self.pairs} ({self.variant})"
        )


@dataclass(frozen=True)
class Options:
    """How embeddings are compared."""

    threshold: float | None = None
    """The cosine at or above which two recordings count as the same speaker, where it was calibrated."""
    operating_points: tuple[OperatingPoint, ...] = ()
    """Thresholds for shares of different speakers that are accepted, where they were measured."""

    def operating_point(self, false_accept_rate: float, variant: str) -> OperatingPoint:
        """The threshold that was measured for a rate: of that variant, else of another; raises InputError."""
        points = [point for point in self.operating_points if point.false_accept_rate == false_accept_rate]
        if not points:
            have = ", ".join(sorted({f"{point.false_accept_rate:g}" for point in self.operating_points})) or "none"
            raise InputError(
                f"no threshold was measured for a false-accept rate of {false_accept_rate:g} (measured: {have}); "
                f"measure one: `wav2edge evaluate PAIRS -m BUNDLE --false-accept-rate {false_accept_rate:g} --keep`"
            )
        return next((point for point in points if point.variant == variant), points[0])

    def threshold_of(self, variant: str) -> float:
        """The threshold where none is given: for the rate that ``threshold`` was measured for, that of the variant."""
        own = DEFAULT_THRESHOLD if self.threshold is None else self.threshold
        rates = [point.false_accept_rate for point in self.operating_points if point.threshold == self.threshold]
        same_rate = (point for point in self.operating_points if point.false_accept_rate in rates[:1])
        return next((point.threshold for point in same_rate if point.variant == variant), own)

    def measured(self, threshold: float, variant: str) -> OperatingPoint | None:
        """How often a threshold was wrong, where that was measured."""
        points = [point for point in self.operating_points if point.threshold == threshold]
        return next((point for point in points if point.variant == variant), points[0] if points else None)


@dataclass(frozen=True)
class Verification:
    """Whether two recordings are of the same speaker."""

    same: bool
    """Whether the score reaches the threshold."""
    score: float
    """The cosine of the embeddings, from -1 to 1, rounded down to four digits."""
    threshold: float
    """The cosine that counts as the same speaker."""


def pooled(embeddings: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """The embedding [size] of a recording from those of its chunks [chunks, size], of unit length."""
    unit = np.stack([normalized(row) for row in embeddings])
    return normalized(np.average(unit, axis=0, weights=weights).astype(np.float32))


def normalized(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """An embedding [size] of unit length; zeros stay zeros."""
    length = float(np.linalg.norm(embedding))
    return np.asarray(embedding / length if length > 0 else embedding, dtype=np.float32)


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The cosine of two embeddings [size]; 0 where one is all zeros."""
    return float(np.clip(normalized(first) @ normalized(second), -1.0, 1.0))


def verify(first: NDArray[np.float32], second: NDArray[np.float32], threshold: float | None) -> Verification:
    """Compare two embeddings [size]; threshold: None takes ``DEFAULT_THRESHOLD``.

    Raises InputError for embeddings of two sizes, and for NaN or infinite numbers in them or as threshold.
    """
    wanted = DEFAULT_THRESHOLD if threshold is None else threshold
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"embeddings of shapes {list(first.shape)} and {list(second.shape)}; both must be [size]")
    if not (np.isfinite(first).all() and np.isfinite(second).all() and np.isfinite(wanted)):
        raise InputError("an embedding or the threshold is NaN or infinite")
    score = cosine(first, second)
    # Down, so that what is shown below a threshold of four digits is below it; but 1 for one recording twice.
    return Verification(score >= wanted, math.floor(1e4 * (score + _EXACT)) / 1e4, wanted)
