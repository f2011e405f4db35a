"""Figures of a classifier: accuracy, unweighted average recall, expected calibration error.

All take ``references`` [clips] of class numbers and ``probabilities`` [clips, classes], whose rows sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import InputError
from . import FIGURES, Change, Estimate, Name
from .bootstrap import Numbers, interval_in_strata

BINS = 15
"""Bins of confidence, as in Guo et al., "On calibration of modern neural networks", ICML 2017."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ClassificationScores:
    """The three figures of one system on one set of clips."""

    accuracy: Estimate
    uar: Estimate
    ece: Estimate


def score(references: Labels, probabilities: Numbers, *, seed: int = 0) -> ClassificationScores:
    """Accuracy, unweighted average recall and expected calibration error, with 95 % intervals over clips.

    Raises InputError for shapes that do not fit, labels that do not exist, and rows that are not probabilities.
    """
    _check(references, probabilities)
    names: tuple[Name, Name, Name] = ("accuracy", "uar", "ece")
    return ClassificationScores(*(_estimate(name, references, probabilities, seed) for name in names))


def change(name: Name, references: Labels, first: Numbers, second: Numbers, *, seed: int = 0) -> Change:
    """The second system's figure minus the first's on the same clips, with a paired interval; raises InputError."""
    _check(references, first)
    _check(references, second)
    before, after = _STATISTICS[name](references, first), _STATISTICS[name](references, second)

    def difference(weights: Numbers) -> Numbers:
        return after(weights) - before(weights)

    value = float(difference(np.ones((1, len(references))))[0])
    low, high = interval_in_strata(difference, _strata(name, references), seed=seed)
    return Change(value, low, high, FIGURES[name])


def _estimate(name: Name, references: Labels, probabilities: Numbers, seed: int) -> Estimate:
    statistic = _STATISTICS[name](references, probabilities)
    value = float(statistic(np.ones((1, len(references))))[0])
    low, high = interval_in_strata(statistic, _strata(name, references), seed=seed)
    return Estimate(FIGURES[name], value, low, high, len(references))


def _strata(name: Name, references: Labels) -> Labels:
    """The strata that clips are drawn within: all clips, or each class for recalls, so that every class is drawn."""
    return references if name == "uar" else np.zeros_like(references)


def _check(references: Labels, probabilities: Numbers) -> None:
    if probabilities.ndim != 2 or len(references) != len(probabilities) or not len(references):
        raise InputError(f"{len(references)} labels for probabilities of shape {list(probabilities.shape)}")
    if references.min() < 0 or references.max() >= probabilities.shape[1]:
        raise InputError(f"labels must be numbers from 0 to {probabilities.shape[1] - 1}")
    sums = probabilities.sum(axis=1)
    if not np.allclose(sums, 1.0, atol=1e-3) or (probabilities < 0).any():  # atol: fp16 outputs
        raise InputError("each row must be probabilities that sum to 1")


def _accuracy(references: Labels, probabilities: Numbers) -> Callable[[Numbers], Numbers]:
    correct = (probabilities.argmax(axis=1) == references).astype(np.float64)

    def statistic(weights: Numbers) -> Numbers:
        values: Numbers = weights @ correct / weights.sum(axis=1)
        return values

    return statistic


def _uar(references: Labels, probabilities: Numbers) -> Callable[[Numbers], Numbers]:
    """The mean over the classes that occur of each class's recall.

    Schuller, Steidl and Batliner, "The INTERSPEECH 2009 Emotion Challenge".
    """
    correct = (probabilities.argmax(axis=1) == references).astype(np.float64)
    members = (references[:, None] == np.unique(references)[None]).astype(np.float64)

    def statistic(weights: Numbers) -> Numbers:
        hits, counts = weights @ (members * correct[:, None]), weights @ members
        recalls = np.divide(hits, counts, out=np.full_like(hits, np.nan), where=counts > 0)
        values: Numbers = np.nanmean(recalls, axis=1)
        return values

    return statistic


def _ece(references: Labels, probabilities: Numbers) -> Callable[[Numbers], Numbers]:
    """The mean gap between confidence and accuracy over bins of confidence, weighted by the bins' sizes.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015; bins of
    equal width, each closed at its upper end.
    """
    confidence = probabilities.max(axis=1)
    gaps = (probabilities.argmax(axis=1) == references) - confidence
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    members = (bins[:, None] == np.arange(BINS)[None]) * gaps[:, None]

    def statistic(weights: Numbers) -> Numbers:
        values: Numbers = np.abs(weights @ members).sum(axis=1) / weights.sum(axis=1)
        return values

    return statistic


_STATISTICS: dict[Name, Callable[[Labels, Numbers], Callable[[Numbers], Numbers]]] = {
    "accuracy": _accuracy,
    "uar": _uar,
    "ece": _ece,
}
