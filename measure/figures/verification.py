"""Figures of speaker verification: equal error rate, minimum detection cost, and thresholds.

A trial is a score, higher for the same speaker, and whether it is a target (the same speaker). At a threshold t a
trial is accepted where its score is at least t; P_miss is the share of targets that are rejected, P_fa the share of
the others that are accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import InputError
from . import FIGURES, Change, Estimate, Name
from .bootstrap import Numbers, interval_in_strata

TARGET_PRIOR, MISS_COST, FALSE_ACCEPT_COST = 0.05, 1.0, 1.0
"""The operating point of the VoxCeleb Speaker Recognition Challenge (Nagrani et al., 2020)."""

Targets = NDArray[np.bool_]


@dataclass(frozen=True)
class VerificationScores:
    """The figures of one system on one list of trials. threshold: the score where both error rates are equal."""

    eer: Estimate
    min_dcf: Estimate
    threshold: float


def score(scores: Numbers, targets: Targets, *, seed: int = 0) -> VerificationScores:
    """Equal error rate and minimum detection cost with 95 % intervals over trials.

    Targets and others are drawn apart. Trials that share a speaker are not independent, so true intervals are wider
    where each speaker has many trials (Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the
    subsets bootstrap", 2004). Raises InputError for scores that are not finite, and without trials of both kinds.
    """
    _check(scores, targets)
    eer, min_dcf = _estimate("eer", scores, targets, seed), _estimate("min-dcf", scores, targets, seed)
    return VerificationScores(eer, min_dcf, Curve(scores, targets).eer_threshold())


def require_pairs(false_accept_rate: float, different: int) -> None:
    """Raise InputError where one of so many pairs of different speakers is a larger share than that rate."""
    if not false_accept_rate * different >= 1:
        raise InputError(
            f"{different} pairs of different speakers are too few for a false-accept rate of "
            f"{false_accept_rate:g}: not one of them may be accepted; list more pairs, or allow a larger share"
        )


def change(name: Name, first: Numbers, second: Numbers, targets: Targets, *, seed: int = 0) -> Change:
    """The second system's figure minus the first's on the same trials, with a paired interval; raises InputError."""
    _check(first, targets)
    _check(second, targets)
    before, after = _statistic(name, first, targets), _statistic(name, second, targets)

    def difference(weights: Numbers) -> Numbers:
        return after(weights) - before(weights)

    value = float(difference(np.ones((1, len(targets))))[0])
    low, high = interval_in_strata(difference, targets.astype(np.int64), seed=seed)
    return Change(value, low, high, FIGURES[name])


def threshold_at(scores: Numbers, targets: Targets, false_accept_rate: float) -> tuple[float, float]:
    """The lowest threshold with at most that share of other speakers accepted, and the share of targets it rejects."""
    _check(scores, targets)
    if not 0 <= false_accept_rate <= 1:
        raise InputError(f"a false accept rate is from 0 to 1, not {false_accept_rate}")
    curve = Curve(scores, targets)
    miss, false_accept = (rates[0] for rates in curve.rates(np.ones((1, len(scores)))))
    first = int(np.argmax(false_accept <= false_accept_rate + 1e-12))
    return float(curve.thresholds[first]), float(miss[first])


class Curve:
    """Both error rates at every threshold that changes one, lowest first; ends with one that rejects all."""

    def __init__(self, scores: Numbers, targets: Targets) -> None:
        """Sort the trials; equal scores are one threshold."""
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._targets = targets[self._order].astype(np.float64)
        first = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > 0)
        self._below = np.append(first, len(ordered))  # trials that each threshold rejects
        self.thresholds = np.append(ordered[first], np.nextafter(ordered[-1], np.inf))

    def rates(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """P_miss and P_fa [draws, thresholds] for weights [draws, trials]."""
        drawn = weights[:, self._order]
        nothing = np.zeros((len(drawn), 1))
        targets = np.concatenate([nothing, np.cumsum(drawn * self._targets, axis=1)], axis=1)
        others = np.concatenate([nothing, np.cumsum(drawn * (1 - self._targets), axis=1)], axis=1)
        miss = targets[:, self._below] / targets[:, -1:]
        false_accept = 1 - others[:, self._below] / others[:, -1:]
        return miss, false_accept

    def eer(self, weights: Numbers) -> Numbers:
        """Where both rates are equal; between two thresholds by a straight line [draws]."""
        miss, false_accept = self.rates(weights)
        gap = miss - false_accept  # from -1, rising, to 1
        after = np.argmax(gap >= 0, axis=1)
        rows = np.arange(len(gap))
        before = np.maximum(after - 1, 0)
        rise = gap[rows, after] - gap[rows, before]
        share = np.divide(gap[rows, after], rise, out=np.zeros(len(gap)), where=rise > 0)
        values: Numbers = miss[rows, after] - share * (miss[rows, after] - miss[rows, before])
        return values

    def eer_threshold(self) -> float:
        """The threshold whose two rates differ least."""
        miss, false_accept = (rates[0] for rates in self.rates(np.ones((1, len(self._order)))))
        return float(self.thresholds[int(np.argmin(np.abs(miss - false_accept)))])

    def min_dcf(self, weights: Numbers) -> Numbers:
        """The least cost over all thresholds, as a multiple of the cost of one decision for all trials [draws].

        NIST 2016 Speaker Recognition Evaluation Plan, section 3.
        """
        miss, false_accept = self.rates(weights)
        miss_cost, accept_cost = MISS_COST * TARGET_PRIOR, FALSE_ACCEPT_COST * (1 - TARGET_PRIOR)
        costs = miss_cost * miss + accept_cost * false_accept
        values: Numbers = costs.min(axis=1) / min(miss_cost, accept_cost)
        return values


def _estimate(name: Name, scores: Numbers, targets: Targets, seed: int) -> Estimate:
    statistic = _statistic(name, scores, targets)
    value = float(statistic(np.ones((1, len(scores))))[0])
    low, high = interval_in_strata(statistic, targets.astype(np.int64), seed=seed)
    return Estimate(FIGURES[name], value, low, high, len(scores))


def _statistic(name: Name, scores: Numbers, targets: Targets) -> Callable[[Numbers], Numbers]:
    curve = Curve(scores, targets)
    return curve.eer if name == "eer" else curve.min_dcf


def _check(scores: Numbers, targets: Targets) -> None:
    if scores.ndim != 1 or scores.shape != targets.shape:
        raise InputError(f"scores of shape {list(scores.shape)} for {list(targets.shape)} trials")
    if not np.isfinite(scores).all():
        raise InputError("a score is not a finite number")
    if not targets.any() or targets.all():
        raise InputError("verification needs trials of the same speaker and of different speakers")
