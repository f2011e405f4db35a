"""The plots of a benchmark as inline SVG.

They follow the page's light or dark colours and need no font, no script and no file beside the page. Each is drawn for
a given width, so that text keeps its size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...runtime.escape import html as escape
from ..page import COLOURS, Html, svg
from ..page import svg_text as _text
from .report import CellResult, Report, Timing

_DASHES = {"fp32": "", "fp16": "7 3", "bf16": "10 3 2 3", "int8": "2 3", "int4": "1 4"}
_ROW, _TEXT = 30, 7.2
"""Height of a row, and the width of one character at 13 px, in pixels."""


def colours(report: Report) -> dict[str, str]:
    """A class of the page's palette for each engine, in order of appearance."""
    names = list(dict.fromkeys(label_of_engine(cell) for cell in report.cells))
    return {name: f"c{index % COLOURS}" for index, name in enumerate(names)}


def label_of_engine(cell: CellResult) -> str:
    """The engine with its device, where one was named."""
    return f"{cell.engine} ({cell.device})" if cell.device else cell.engine


def label(cell: CellResult) -> str:
    """How plots name a cell."""
    return f"{label_of_engine(cell)} {cell.variant}"


def distribution(report: Report, width: int) -> Html:
    """Latency at the reference length: every run a dot, the middle half a bar, the median a line; log scale."""
    seconds = report.reference_length
    cells = [cell for cell in report.cells if seconds is not None and cell.timing(seconds)]
    if seconds is None or not cells:
        return Html("")
    cells.sort(key=lambda cell: _timing(cell, seconds).percentile(50))
    palette = colours(report)
    narrow = width < 500
    left = 8 if narrow else max(len(label(cell)) for cell in cells) * _TEXT + 16
    row = _ROW + 14 if narrow else _ROW
    times = [t * 1e3 for cell in cells for t in _timing(cell, seconds).times]
    scale = _Log(min(times), max(times), left, width - 70)
    height = len(cells) * row + 44
    parts = _vertical_grid(scale, 8, height - 34)
    parts.append(_text((left + width - 70) / 2, height - 4, "ms, logarithmic", "middle", "muted"))
    for index, cell in enumerate(cells):
        timing = _timing(cell, seconds)
        middle = index * row + row - 14
        colour = palette[label_of_engine(cell)]
        if narrow:
            parts.append(_text(left, middle - 13, label(cell)))
        else:
            parts.append(_text(left - 10, middle + 4, label(cell), "end"))
        low, mid, high = (scale(timing.percentile(share) * 1e3) for share in (25, 50, 75))
        parts.append(
            f'<rect class="f-{colour} soft" x="{low:.1f}" y="{middle - 7}" width="{max(1.0, high - low):.1f}" '
            f'height="14" rx="3"><title>{escape(_summary(cell, seconds))}</title></rect>'
        )
        for number, value in enumerate(timing.times):
            wobble = (number * 7 % 9) - 4
            parts.append(f'<circle class="f-{colour} dot" cx="{scale(value * 1e3):.1f}" cy="{middle + wobble}" r="2"/>')
        parts.append(f'<line class="s-{colour}" x1="{mid:.1f}" x2="{mid:.1f}" y1="{middle - 9}" y2="{middle + 9}"/>')
        parts.append(_text(width, middle + 4, _ms(timing.percentile(50)), "end", "strong"))
    return svg(
        width, height, map(Html, parts), f"Latency of {seconds:g} s of audio: every run of each engine and variant"
    )


def rtf_by_length(report: Report, width: int) -> Html:
    """Real-time factor over the length of the audio; colour is the engine, dashes the precision; log scales."""
    lengths = report.lengths
    if len(lengths) < 2:
        return Html("")
    palette = colours(report)
    values = [timing.rtf for cell in report.cells for timing in cell.timings]
    narrow = width < 500
    names = {id(cell): cell.variant if narrow else label(cell) for cell in report.cells}
    room = max(map(len, names.values())) * _TEXT * 1.08 + 14  # they are bold
    top, bottom, left, right = 10, max(330, 20 + 15 * len(report.cells)), 52, width - room
    across = _Log(lengths[0], lengths[-1], left, right, exact=True)
    up = _Log(min(values), max(values), bottom, top)
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, f"{value:g}", "end", "muted"))
    for value in lengths:
        parts.append(_text(across(value), bottom + 20, f"{value:g} s", "middle", "muted"))
    parts.append(_text(0, bottom + 40, "real-time factor, lower is faster; logarithmic", "start", "muted"))
    ends = _spread([up(cell.timings[-1].rtf) for cell in report.cells])
    for cell, end in zip(report.cells, ends):
        points = [(across(t.seconds), up(t.rtf)) for t in cell.timings]
        dash = _DASHES.get(cell.precision, "")
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = palette[label_of_engine(cell)]
        title = f"<title>{escape(label(cell))}</title>"
        parts.append(f'<polyline class="s-{colour} line" points="{path}" stroke-dasharray="{dash}">{title}</polyline>')
        x, y = points[-1]
        parts.append(f'<line class="lead" x1="{x + 4:.1f}" y1="{y:.1f}" x2="{right + 10:.1f}" y2="{end:.1f}"/>')
        parts.append(_text(right + 13, end + 4, names[id(cell)], kind=f"f-{colour}"))
        for (x, y), timing in zip(points, cell.timings):
            text = f"{label(cell)}, {timing.seconds:g} s: RTF {timing.rtf:.4f}"
            parts.append(
                f'<circle class="f-{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(text)}</title></circle>'
            )
    return svg(width, bottom + 50, map(Html, parts), "Real-time factor by length of audio")


def latency_against_wer(report: Report, width: int) -> Html:
    """Median latency over WER: the lower left corner is where everyone wants to be."""
    seconds = report.reference_length
    cells = [cell for cell in report.cells if cell.wer is not None and seconds is not None and cell.timing(seconds)]
    if seconds is None or len(cells) < 2:
        return Html("")
    palette = colours(report)
    top, bottom, left, right = 14, 330, 52, width - 16
    rates = [100 * (cell.wer or 0.0) for cell in cells]
    times = [_timing(cell, seconds).percentile(50) * 1e3 for cell in cells]
    across = _Log(min(times), max(times), left, right - (90 if width < 500 else 150))
    up = _Linear(min(rates), max(rates), bottom, top)
    parts = _vertical_grid(across, top, bottom)
    for value in up.ticks():
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>')
        parts.append(_text(left - 8, up(value) + 4, f"{value:g}", "end", "muted"))
    parts.append(_text(0, bottom + 40, f"WER in %, over median ms for {seconds:g} s of audio", "start", "muted"))
    taken = [(across(time) - 6, up(rate) + 4, across(time) + 6) for rate, time in zip(rates, times)]
    for cell, rate, time in sorted(zip(cells, rates, times), key=lambda item: up(item[1])):
        x, y = across(time), up(rate)
        colour = palette[label_of_engine(cell)]
        name = label(cell) if width >= 500 else cell.variant
        begin, text_y, end = x + 10, y + 4, x + 14 + len(name) * _TEXT
        while any(abs(text_y - other) < 14 and begin < last and first < end for first, other, last in taken):
            text_y += 14
        taken.append((begin, text_y, end))
        parts.append(
            f'<circle class="f-{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>'
            f"{escape(f'{label(cell)}: {_ms(time / 1e3)}, WER {rate:.1f} %')}</title></circle>"
        )
        if abs(text_y - y - 4) > 1:
            parts.append(f'<line class="lead" x1="{x + 5:.1f}" y1="{y:.1f}" x2="{x + 9:.1f}" y2="{text_y - 4:.1f}"/>')
        parts.append(_text(begin, text_y, name))
    height = max(bottom + 50, max(y for _, y, _ in taken) + 12)
    return svg(width, int(height), map(Html, parts), "Latency against word error rate")


def legend(report: Report) -> Html:
    """Which colour is which engine and which dashes which precision, as HTML."""
    items = [
        f'<li><svg width="14" height="14" aria-hidden="true"><circle class="f-{colour}" cx="7" cy="7" r="5"/></svg>'
        f"{escape(name)}</li>"
        for name, colour in colours(report).items()
    ]
    for precision in dict.fromkeys(cell.precision for cell in report.cells if cell.precision in _DASHES):
        dash = _DASHES[precision]
        line = f'<line class="ink" x1="0" x2="28" y1="7" y2="7" stroke-dasharray="{dash}"/>'
        items.append(f'<li><svg width="28" height="14" aria-hidden="true">{line}</svg>{escape(precision)}</li>')
    return Html(f'<ul class="legend">{"".join(items)}</ul>')


def _spread(wanted: Sequence[float], gap: float = 15.0) -> list[float]:
    """Heights of labels, near those wanted but never closer than ``gap``."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    for position in range(1, len(order)):
        placed[order[position]] = max(wanted[order[position]], placed[order[position - 1]] + gap)
    # What was pushed down in a crowd is moved up again by half of it, as far as the labels above allow.
    for position, index in enumerate(order):
        floor = placed[order[position - 1]] + gap if position else 4.0
        placed[index] = max(floor, placed[index] - (placed[index] - wanted[index]) / 2)
    return placed


class _Log:
    """A logarithmic axis from ``low`` to ``high`` onto pixels, widened to look whole unless ``exact``."""

    def __init__(self, low: float, high: float, start: float, end: float, exact: bool = False) -> None:
        low, high = (low, high) if exact else (low / 1.15, high * 1.15)
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten, no closer than 40 pixels; more digits where those are fewer than three."""
        found: list[float] = []
        for digits in ((1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
            found = []
            for exponent in range(math.floor(self._low), math.ceil(self._high) + 1):
                for value in (digit * 10.0**exponent for digit in digits):
                    inside = self._low <= math.log10(value) <= self._high
                    if inside and (not found or abs(self(value) - self(found[-1])) >= 40):
                        found.append(float(f"{value:g}"))
            if len(found) >= 3:
                break
        return found


class _Linear:
    """A linear axis that begins at zero where that wastes little."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        room = max(0.5, (high - low) * 0.15)
        self._low, self._high = (0.0 if low < 2 * (high - low) else max(0.0, low - room)), high + room
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        rough = (self._high - self._low) / 5
        step = 10 ** math.floor(math.log10(rough))
        step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
        first = math.ceil(self._low / step)
        return [round(number * step, 6) for number in range(first, math.floor(self._high / step) + 1)]


def _vertical_grid(scale: _Log, top: float, bottom: float) -> list[str]:
    parts = []
    for value in scale.ticks():
        x = scale(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 16, f"{value:g}", "middle", "muted"))
    return parts


def _summary(cell: CellResult, seconds: float) -> str:
    timing = _timing(cell, seconds)
    shares = ", ".join(f"p{share} {_ms(timing.percentile(share))}" for share in (50, 95, 99))
    return f"{label(cell)}: {shares}, {len(timing.times)} runs"


def _timing(cell: CellResult, seconds: float) -> Timing:
    timing = cell.timing(seconds)
    assert timing is not None
    return timing


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"
