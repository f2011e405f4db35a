"""Regression: a number for each label of a whole clip, such as arousal, dominance and valence of speech.

A recording that is longer than a chunk is run chunk by chunk; the numbers are averaged, each chunk weighted by its
length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec


@dataclass(frozen=True)
class Options:
    """The scale of the numbers."""

    low: float | None = None
    """The smallest value of the scale that it was trained on, where known."""
    high: float | None = None
    """The largest value of that scale."""


@dataclass(frozen=True)
class Value:
    """A label and its number."""

    label: str
    value: float


@dataclass(frozen=True)
class Regression:
    """The numbers of one recording."""

    values: tuple[Value, ...]
    """In the order of the model's labels."""
    seconds: float
    """The recording's length."""
    complete: bool = True
    """False where the recording was cut short or damaged."""


def regress(outputs: NDArray[np.float32], spec: ModelSpec, seconds: float, complete: bool = True) -> Regression:
    """The numbers of a recording's outputs [labels]."""
    values = tuple(Value(label, round(float(value), 4)) for label, value in zip(spec.labels, outputs))
    return Regression(values, seconds, complete)
