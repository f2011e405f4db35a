"""Put layers back in float, worst first, until a variant passes; then quantise again those that need not be float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .sensitivity import Sensitivity

Result = TypeVar("Result")

PRUNING_TRIALS = 20
"""Candidates that rule 3 may cost: enough for halves, quarters and eighths (14) and a start on sixteenths."""


@dataclass(frozen=True)
class SearchResult(Generic[Result]):
    """The result of a search."""

    float_layers: frozenset[str]
    """The layers that stay in float."""
    result: Result
    """The figures of the candidate with these layers."""
    passes: bool
    """Whether that is good enough."""
    trials: int
    """How many candidates were built and judged."""


def search(
    order: Sequence[Sensitivity],
    build: Callable[[frozenset[str]], Result],
    passes: Callable[[Result], bool],
    pruning_trials: int = PRUNING_TRIALS,
) -> SearchResult[Result]:
    """The cheapest set of float layers that passes; no layer where none does, or only all of them together.

    With every layer in float the model is fp32 again and takes about as long, so that set is never chosen.

    order: layers, worst first. build: makes and measures the candidate with these layers in float.
    1. Everything quantised, if it passes.
    2. 1, 2, 4, 8 … of the worst layers in float until it passes, then halving back to the fewest.
    3. Of those as many as still pass are quantised again, by halves, quarters and one by one, the ones that cost
       most time first, in at most ``pruning_trials`` tries (delta debugging, Zeller, 1999).
    """
    trials = _Trials(build, passes)
    if trials.passes(frozenset()) or not order:
        return trials.result(frozenset())
    worst = _fewest_worst([item.layer for item in order], trials)
    if trials.passes(worst):
        worst = _pruned(worst, {item.layer: item.cost for item in order}, trials, pruning_trials)
    found = trials.passes(worst) and len(worst) < len(order)
    return trials.result(worst if found else frozenset())


class _Trials(Generic[Result]):
    """Builds each candidate once."""

    def __init__(self, build: Callable[[frozenset[str]], Result], passes: Callable[[Result], bool]) -> None:
        self._build = build
        self._passes = passes
        self._known: dict[frozenset[str], Result] = {}

    def passes(self, float_layers: frozenset[str]) -> bool:
        if float_layers not in self._known:
            self._known[float_layers] = self._build(float_layers)
        return self._passes(self._known[float_layers])

    def result(self, float_layers: frozenset[str]) -> SearchResult[Result]:
        passes = self.passes(float_layers)
        return SearchResult(float_layers, self._known[float_layers], passes, len(self._known))


def _fewest_worst(layers: Sequence[str], trials: _Trials[Result]) -> frozenset[str]:
    """Rule 2; all layers where even they do not pass."""
    low, high = 0, 1
    while not trials.passes(frozenset(layers[:high])):
        if high == len(layers):
            return frozenset(layers)
        low, high = high, min(2 * high, len(layers))
    while high - low > 1:
        middle = (low + high) // 2
        if trials.passes(frozenset(layers[:middle])):
            high = middle
        else:
            low = middle
    return frozenset(layers[:high])


def _pruned(
    float_layers: frozenset[str], cost: Mapping[str, float], trials: _Trials[Result], tries: int
) -> frozenset[str]:
    """Rule 3."""
    chunk = len(float_layers) // 2
    while chunk and tries:
        dearest = sorted(float_layers, key=lambda layer: (-cost[layer], layer))
        for start in range(0, len(dearest), chunk):
            fewer = float_layers - set(dearest[start : start + chunk])
            if fewer and fewer != float_layers and tries:
                tries -= 1
                float_layers = fewer if trials.passes(fewer) else float_layers
        chunk //= 2
    return float_layers
