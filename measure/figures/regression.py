"""The figure of a regression: the concordance correlation coefficient, averaged over labels.

Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 1989; the usual figure for
dimensional emotion since Ringeval et al., AVEC 2015. 1 is perfect, 0 is chance; unlike a correlation it also falls
with a wrong scale or offset.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...runtime.errors import InputError
from . import FIGURES, Change, Estimate
from .bootstrap import Numbers, interval_in_strata


def score(references: Numbers, predictions: Numbers, *, seed: int = 0) -> Estimate:
    """The coefficient of numbers [clips, labels], averaged over labels, with its 95 % interval over clips.

    Raises InputError for shapes that differ and numbers that are not finite.
    """
    statistic = _statistic(references, predictions)
    value = float(statistic(np.ones((1, len(references))))[0])
    low, high = interval_in_strata(statistic, np.zeros(len(references), np.int64), seed=seed)
    return Estimate(FIGURES["ccc"], value, low, high, len(references))


def change(references: Numbers, first: Numbers, second: Numbers, *, seed: int = 0) -> Change:
    """The second system's coefficient minus the first's on the same clips, with a paired interval."""
    before, after = _statistic(references, first), _statistic(references, second)

    def difference(weights: Numbers) -> Numbers:
        return after(weights) - before(weights)

    value = float(difference(np.ones((1, len(references))))[0])
    low, high = interval_in_strata(difference, np.zeros(len(references), np.int64), seed=seed)
    return Change(value, low, high, FIGURES["ccc"])


def _statistic(references: Numbers, predictions: Numbers) -> Callable[[Numbers], Numbers]:
    if references.ndim != 2 or references.shape != predictions.shape or not len(references):
        raise InputError(
            f"numbers of shape {list(references.shape)} and {list(predictions.shape)}; both are [clips, labels]"
        )
    if not (np.isfinite(references).all() and np.isfinite(predictions).all()):
        raise InputError("a number is not finite")

    def statistic(weights: Numbers) -> Numbers:
        count = weights.sum(axis=1, keepdims=True)
        mean_x, mean_y = weights @ references / count, weights @ predictions / count
        variance_x = weights @ references**2 / count - mean_x**2
        variance_y = weights @ predictions**2 / count - mean_y**2
        covariance = weights @ (references * predictions) / count - mean_x * mean_y
        spread = variance_x + variance_y + (mean_x - mean_y) ** 2
        ratio = np.divide(2 * covariance, spread, out=np.full_like(spread, np.nan), where=spread > 1e-12)
        values: Numbers = ratio.mean(axis=1)
        return values

    return statistic
