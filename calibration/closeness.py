"""How close two runs of one model are, by their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wav2edge.measure.figures import cosines, regression
from wav2edge.measure.task import Answer, Likeness

Logits: TypeAlias = NDArray[np.float32]
"""A clip's logits, [frames, labels] or [labels]."""

BEST_DB = 200.0
"""The signal to noise given for equal logits, in dB: more than fp32 reaches, whose rounding leaves 144 dB."""


def agreement(reference: Sequence[Logits], other: Sequence[Logits], groups: Sequence[int] = ()) -> float:
    """Share of frames (or clips) whose best label is the same, from 0 to 1; those with NaN count as different.

    groups: sizes of consecutive groups of labels, of which the best label of each must be the same.
    """
    same = total = 0
    ends = np.cumsum(groups, dtype=np.int64)[:-1]
    for first, second in zip(reference, other):
        valid = np.isfinite(second).all(axis=-1)
        parts = zip(np.split(first, ends, axis=-1), np.split(np.nan_to_num(second), ends, axis=-1))
        equal = np.all([one.argmax(axis=-1) == two.argmax(axis=-1) for one, two in parts], axis=0)
        same += int((equal & valid).sum())
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


def likeness(
    kind: Likeness,
    reference: Sequence[Answer],
    other: Sequence[Answer],
    decisions: bool = False,
    groups: Sequence[int] = (),
) -> float:
    """How alike two runs' answers are, 1 for equal ones; answers that are not finite count as different.

    decisions: whether each number of an answer is the probability of its label alone, which holds from one half on.
    groups: as ``agreement`` takes them.
    """
    if kind == "labels":
        return agreement(reference, other, groups) if not decisions else _same_decisions(reference, other)
    first = np.stack(reference).astype(np.float64)
    second = np.nan_to_num(np.stack(other).astype(np.float64), posinf=0.0, neginf=0.0)
    if kind == "cosine":
        return float(cosines.each(first, second).mean())
    concordance = regression.score(first, second).value
    return concordance if np.isfinite(concordance) else float(np.allclose(first, second))


def _same_decisions(reference: Sequence[Answer], other: Sequence[Answer]) -> float:
    same = total = 0
    for first, second in zip(reference, other):
        same += int((((first >= 0.5) == (second >= 0.5)) & np.isfinite(second)).sum())
        total += first.size
    return same / max(total, 1)
