"""Speaker embeddings (x-vectors; Snyder et al., "X-vectors: robust DNN embeddings for speaker recognition", 2018).

Two recordings are compared by the cosine of their embeddings. A recording that is longer than a chunk is embedded chunk
by chunk; the embeddings are brought to unit length and averaged, each chunk weighted by its length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEFAULT_THRESHOLD = 0.86
"""The cosine that transformers' examples for WavLM and UniSpeech-SAT speaker models use, where a bundle names none
(https://huggingface.co/microsoft/wavlm-base-plus-sv, "the optimal threshold is dataset-dependent")."""


@dataclass(frozen=True)
class Options:
    """How embeddings are compared."""

    threshold: float | None = None
    """The cosine at or above which two recordings count as the same speaker, where it was calibrated."""


@dataclass(frozen=True)
class Verification:
    """Whether two recordings are of the same speaker."""

    same: bool
    """Whether the score reaches the threshold."""
    score: float
    """The cosine of the embeddings, from -1 to 1."""
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
    """Compare two embeddings [size]; threshold: None takes ``DEFAULT_THRESHOLD``."""
    wanted = DEFAULT_THRESHOLD if threshold is None else threshold
    score = cosine(first, second)
    return Verification(score >= wanted, round(score, 4), wanted)
