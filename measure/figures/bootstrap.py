"""95 % percentile intervals by bootstrap: the same drawn items for both systems where two are compared.

Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Statistic = Callable[[NDArray[np.float64]], Numbers]
"""From weights [draws, items], the number of times that each item was drawn, to the figure of each draw [draws]; NaN
where it is not defined."""

DRAWS = 10_000
"""Draws of figures that are ratios of sums: the ends of an interval repeat to about 0.02 of its width."""
FEWER_DRAWS = 2_000
"""Draws of figures that need sorting at each draw; the ends repeat to about 0.05 of the width."""
_BLOCK = 2_000_000
"""Numbers that are drawn at once: 16 MB of them."""


def interval_of_ratio(
    numerators: Numbers, denominators: Numbers, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The interval of sum(numerators) / sum(denominators) over items; NaN for fewer than two."""
    count = len(numerators)
    if count < 2:  # one item has no spread
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    ratios = []
    for size in _blocks(draws, count):
        drawn = generator.integers(count, size=(size, count))
        total = denominators[drawn].sum(axis=1)
        ratios.append(np.divide(numerators[drawn].sum(axis=1), total, out=np.full(size, np.nan), where=total > 0))
    return _ends(np.concatenate(ratios))


def interval_in_strata(
    statistic: Statistic, strata: NDArray[np.int64], draws: int = FEWER_DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The interval of any figure; items are drawn within their stratum, so that each keeps its number of items.

    strata: each item's stratum, such as its class. NaN where a stratum has fewer than two items, as its spread is
    then not known.
    """
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    if not members or min(map(len, members)) < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    values = []
    for size in _blocks(draws, len(strata)):
        weights = np.zeros((size, len(strata)))
        for of_stratum in members:
            share = np.full(len(of_stratum), 1 / len(of_stratum))
            weights[:, of_stratum] = generator.multinomial(len(of_stratum), share, size=size)
        values.append(statistic(weights))
    return _ends(np.concatenate(values))


def _blocks(draws: int, count: int) -> list[int]:
    block = max(1, _BLOCK // count)
    return [min(block, draws - start) for start in range(0, draws, block)]


def _ends(values: Numbers) -> tuple[float, float]:
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
