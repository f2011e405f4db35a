"""The figure of a bare encoder: the cosine of its states to those of another run, averaged over recordings."""

from __future__ import annotations

import numpy as np

from ...runtime.errors import InputError
from . import FIGURES, Change, Estimate
from .bootstrap import Numbers, interval_of_ratio


def each(first: Numbers, second: Numbers) -> Numbers:
    """The cosine of each row of two runs [recordings, size]; 0 where one is all zeros.

    Raises InputError for shapes that differ and numbers that are not finite.
    """
    if first.ndim != 2 or first.shape != second.shape or not len(first):
        raise InputError(f"states of shape {list(first.shape)} and {list(second.shape)}; both are [recordings, size]")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("a number is not finite")
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = (first * second).sum(axis=1)
    values: Numbers = np.divide(products, lengths, out=np.zeros(len(first)), where=lengths > 0)
    return values


def score(reference: Numbers, states: Numbers) -> Estimate:
    """The mean cosine with its 95 % interval over recordings."""
    values = each(reference, states)
    low, high = interval_of_ratio(values, np.ones(len(values)))
    return Estimate(FIGURES["cosine"], float(values.mean()), low, high, len(values))


def change(first: Numbers, second: Numbers) -> Change:
    """How far the mean cosine of the second run to the first is below 1, with its interval over recordings."""
    values = each(first, second) - 1
    low, high = interval_of_ratio(values, np.ones(len(values)))
    return Change(float(values.mean()), low, high, FIGURES["cosine"])
