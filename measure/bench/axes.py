"""Axes of the benchmark's plots: from values to pixels, with their marks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..page import Html, element, svg_text


class LogAxis:
    """A logarithmic axis from ``low`` to ``high`` onto pixels, with a margin at both ends unless ``exact``."""

    def __init__(self, low: float, high: float, start: float, end: float, exact: bool = False) -> None:
        """Map ``low`` to about ``start`` and ``high`` to about ``end``; both values are above 0."""
        low, high = (low, high) if exact else (low / 1.15, high * 1.15)
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        share = (math.log10(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten, no closer than 40 pixels; more digits where those are fewer than three."""
        ticks: list[float] = []
        for digits in ((1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
            ticks = self._ticks(digits)
            if len(ticks) >= 3:
                break
        return ticks

    def _ticks(self, digits: Sequence[float]) -> list[float]:
        exponents = range(math.floor(self._low), math.ceil(self._high) + 1)
        ticks: list[float] = []
        for value in (digit * 10.0**exponent for exponent in exponents for digit in digits):
            inside = self._low <= math.log10(value) <= self._high
            if inside and (not ticks or abs(self(value) - self(ticks[-1])) >= 40):
                ticks.append(float(f"{value:g}"))
        return ticks


class LinearAxis:
    """A linear axis that begins at zero, unless that leaves more than half of it empty."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        """Map values from ``low`` to ``high``, with a margin, onto pixels from ``start`` to ``end``."""
        margin = max(0.5, (high - low) * 0.15)
        self._low, self._high = (0.0 if low < 2 * (high - low) else max(0.0, low - margin)), high + margin
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        rough = (self._high - self._low) / 5
        step = 10 ** math.floor(math.log10(rough))
        step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
        first = math.ceil(self._low / step)
        return [round(number * step, 6) for number in range(first, math.floor(self._high / step) + 1)]


def vertical_grid(axis: LogAxis, top: float, bottom: float) -> list[Html]:
    """A line at each mark of a horizontal axis, with its value below."""
    parts = []
    for value in axis.ticks():
        parts.append(element("line", class_="grid", x1=axis(value), x2=axis(value), y1=top, y2=bottom))
        parts.append(svg_text(axis(value), bottom + 16, f"{value:g}", "middle", "muted"))
    return parts


def horizontal_grid(axis: LogAxis | LinearAxis, left: float, right: float) -> list[Html]:
    """A line at each mark of a vertical axis, with its value to the left."""
    parts = []
    for value in axis.ticks():
        parts.append(element("line", class_="grid", x1=left, x2=right, y1=axis(value), y2=axis(value)))
        parts.append(svg_text(left - 8, axis(value) + 4, f"{value:g}", "end", "muted"))
    return parts


def spread(wanted: Sequence[float], gap: float = 15.0) -> list[float]:
    """Heights of labels, near those wanted but never closer than ``gap``."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    for position in range(1, len(order)):
        placed[order[position]] = max(wanted[order[position]], placed[order[position - 1]] + gap)
    # Labels that were moved down are moved up again by half of that, as far as the labels above allow.
    for position, index in enumerate(order):
        floor = placed[order[position - 1]] + gap if position else 4.0
        placed[index] = max(floor, placed[index] - (placed[index] - wanted[index]) / 2)
    return placed
