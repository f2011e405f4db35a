"""Put layers back in float, worst first, until the words are back; then take back what was not needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .sensitivity import Sensitivity

Result = TypeVar("Result")


@dataclass(frozen=True)
class Found(Generic[Result]):
    """Where a search ended. float_layers: what stays in float; inside: whether the result passes the gate.

    trials: how many candidates were built and judged.
    """

    float_layers: frozenset[str]
    result: Result
    inside: bool
    trials: int


def search(
    order: Sequence[Sensitivity],
    build: Callable[[frozenset[str]], Result],
    inside: Callable[[Result], bool],
    prune: int = 20,
) -> Found[Result]:
    """The cheapest set of float layers that passes.

    order: layers, worst first. build: makes and measures the candidate with these layers in float.
    1. Everything quantised, if it passes.
    2. 1, 2, 4, 8 … of the worst layers in float until it passes, then halving back to the fewest.
    3. Of those as many as still pass are quantised again, by halves, quarters and one by one, the ones that cost
       most time first, in at most ``prune`` tries (delta debugging, Zeller, 1999).
    """
    known: dict[frozenset[str], Result] = {}

    def attempt(layers: frozenset[str]) -> tuple[Result, bool]:
        if layers not in known:
            known[layers] = build(layers)
        return known[layers], inside(known[layers])

    def worst(count: int) -> frozenset[str]:
        return frozenset(item.layer for item in order[:count])

    result, fine = attempt(frozenset())
    if fine or not order:
        return Found(frozenset(), result, fine, len(known))
    low, high = 0, 1
    while True:
        result, fine = attempt(worst(high))
        if fine:
            break
        if high == len(order):
            return Found(worst(high), result, False, len(known))
        low, high = high, min(2 * high, len(order))
    while high - low > 1:
        middle = (low + high) // 2
        if attempt(worst(middle))[1]:
            high = middle
        else:
            low = middle
    kept = worst(high)
    cost = {item.layer: item.cost for item in order}
    chunk, tries = len(kept) // 2, prune
    while chunk and tries:
        dearest = sorted(kept, key=lambda layer: (-cost[layer], layer))
        for start in range(0, len(dearest), chunk):
            fewer = kept - set(dearest[start : start + chunk])
            if fewer and fewer != kept and tries:
                tries -= 1
                kept = fewer if attempt(fewer)[1] else kept
        chunk //= 2
    return Found(kept, known[kept], True, len(known))
