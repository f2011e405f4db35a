"""How close two runs of one model are, by their logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Logits: TypeAlias = NDArray[np.float32]
"""A clip's logits, [frames, labels] or [labels]."""

BEST_DB = 200.0
"""The signal to noise given for equal logits: more than fp32, whose rounding alone leaves 144 dB, can show."""


def agreement(reference: Sequence[Logits], other: Sequence[Logits]) -> float:
    """Share of frames (or clips) whose best label is the same, from 0 to 1; those with NaN agree with nothing."""
    same = total = 0
    for first, second in zip(reference, other):
        valid = np.isfinite(second).all(axis=-1)
        same += int(((first.argmax(axis=-1) == np.nan_to_num(second).argmax(axis=-1)) & valid).sum())
        total += valid.size
    return same / max(total, 1)


def sqnr(reference: Sequence[Logits], other: Sequence[Logits]) -> float:
    """Signal to quantisation noise in dB: the power of the reference over that of the difference.

    At most ``BEST_DB``; minus infinity where ``other`` is not finite.
    """
    power = sum(float(np.square(first, dtype=np.float64).sum()) for first in reference)
    noise = sum(float(np.square(second - first, dtype=np.float64).sum()) for first, second in zip(reference, other))
    if not np.isfinite(noise):
        return float("-inf")
    smallest = np.finfo(np.float64).tiny
    return float(10 * np.log10(max(power, smallest) / max(noise, power * 10 ** (-BEST_DB / 10), smallest)))
