"""Sequence classification: labels for a whole clip (language, emotion, keyword, intent …).

A recording that is longer than a chunk is classified chunk by chunk; the logits are averaged, each chunk weighted by
its length, before they become scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec


@dataclass(frozen=True)
class Options:
    """How logits become scores."""

    multi_label: bool = False
    """Whether several labels may hold at once (a sigmoid for each) instead of exactly one (softmax)."""
    groups: tuple[int, ...] = ()
    """Sizes of consecutive groups of labels of which exactly one holds each, as in SUPERB's intent classification
    (action, object, location); empty: all labels are one group."""
    threshold: float | None = None
    """Probability from which a label counts in live sound, where it was chosen for the model."""


@dataclass(frozen=True)
class Score:
    """A label and how sure the model is of it, from 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Classification:
    """The labels of one recording."""

    scores: tuple[Score, ...]
    """All labels, the best first; with groups of labels, group by group."""
    best: tuple[Score, ...]
    """The label that holds, one for each group; with ``multi_label`` all of 0.5 or more."""
    seconds: float
    """The recording's length."""
    complete: bool = True
    """False where the recording was cut short or damaged."""

    @property
    def label(self) -> str:
        """The best label, several joined by a comma; empty where none holds."""
        return ", ".join(score.label for score in self.best)

    def top(self, count: int, spec: ModelSpec) -> tuple[Score, ...]:
        """The first ``count`` labels of each group, group by group; spec: of the model."""
        starts = np.cumsum((0, *_groups(spec.options(Options), len(self.scores))))
        return tuple(score for begin, end in pairwise(starts) for score in self.scores[begin:end][:count])


def scores(logits: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.float32]:
    """Scores [labels] of a clip's logits [labels]: softmax within each group, or sigmoids."""
    options = spec.options(Options)
    values = np.asarray(logits, dtype=np.float64)
    if options.multi_label:
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), dtype=np.float32)  # a sigmoid that cannot overflow
    parts = np.split(values, np.cumsum(_groups(options, len(values)))[:-1])
    shifted = [np.exp(part - part.max()) for part in parts]
    return np.concatenate([part / part.sum() for part in shifted]).astype(np.float32)


def classify(logits: NDArray[np.float32], spec: ModelSpec, seconds: float, complete: bool = True) -> Classification:
    """The labels of a recording's logits [labels]."""
    options = spec.options(Options)
    values = scores(logits, spec)
    ranked: list[Score] = []
    best: list[Score] = []
    start = 0
    for size in _groups(options, len(values)):
        order = start + np.argsort(-values[start : start + size], kind="stable")
        group = [Score(spec.labels[index], round(float(values[index]), 4)) for index in order]
        ranked += group
        best += [score for score in group if score.score >= 0.5] if options.multi_label else group[:1]
        start += size
    return Classification(tuple(ranked), tuple(best), seconds, complete)


def _groups(options: Options, labels: int) -> tuple[int, ...]:
    return options.groups if sum(options.groups) == labels and not options.multi_label else (labels,)
