"""The plots of a benchmark as inline SVG.

They follow the page's light or dark colours. Each is drawn for a given width, so that text keeps its size on a phone.
"""

from __future__ import annotations

from ..page import COLOURS, Html, element, svg, svg_text
from .axes import LinearAxis, LogAxis, horizontal_grid, spread, vertical_grid
from .report import BenchReport, BenchResult, Timing

_DASHES = {"fp32": "", "fp16": "7 3", "bf16": "10 3 2 3", "int8": "2 3", "int4": "1 4"}
_ROW, _CHARACTER = 30, 7.2
"""Height of a row, and the width of one character at 13 px, in pixels."""
_NARROW = 500
"""Pixels of width below which labels are above their rows instead of in a column."""


def colours(report: BenchReport) -> dict[str, str]:
    """A class of the page's palette for each engine, in order of appearance."""
    names = dict.fromkeys(result.engine_label for result in report.results)
    return {name: f"c{index % COLOURS}" for index, name in enumerate(names)}


def label(report: BenchReport, result: BenchResult) -> str:
    """How plots name a result."""
    return f"{report.bundle_name(result)} {result.engine_label} {result.variant}".strip()


def distribution(report: BenchReport, width: int) -> Html:
    """Latency at the reference length: every run a dot, the middle half a bar, the median a line; log scale."""
    seconds = report.reference_length
    if seconds is None:
        return Html("")
    rows = [(result, timing) for result in report.results if (timing := result.timing(seconds))]
    rows.sort(key=lambda row: row[1].percentile(50))
    palette = colours(report)
    narrow = width < _NARROW
    left = 8 if narrow else max(len(label(report, result)) for result, _ in rows) * _CHARACTER + 16
    row = _ROW + 14 if narrow else _ROW
    times = [time * 1e3 for _, timing in rows for time in timing.times]
    axis = LogAxis(min(times), max(times), left, width - 70)
    height = len(rows) * row + 44
    parts = vertical_grid(axis, 8, height - 34)
    parts.append(svg_text((left + width - 70) / 2, height - 4, "ms, logarithmic", "middle", "muted"))
    for index, (result, timing) in enumerate(rows):
        middle = index * row + row - 14
        if narrow:
            parts.append(svg_text(left, middle - 13, _fitting(label(report, result), width - left)))
        else:
            parts.append(svg_text(left - 10, middle + 4, label(report, result), "end"))
        parts += _runs(report, result, timing, axis, middle, palette[result.engine_label])
        parts.append(svg_text(width, middle + 4, _ms(timing.percentile(50)), "end", "strong"))
    return svg(width, height, parts, f"Latency of {seconds:g} s of audio: every run of each engine and variant")


def _runs(
    report: BenchReport, result: BenchResult, timing: Timing, axis: LogAxis, middle: float, colour: str
) -> list[Html]:
    low, mid, high = (axis(timing.percentile(share) * 1e3) for share in (25, 50, 75))
    bar = {"x": low, "y": middle - 7, "width": max(1.0, high - low), "height": 14, "rx": 3}
    parts = [element("rect", element("title", _summary(report, result, timing)), class_=f"f-{colour} soft", **bar)]
    for number, time in enumerate(timing.times):
        scattered = middle + (number * 7 % 9) - 4  # so that runs of the same time do not cover each other
        parts.append(element("circle", class_=f"f-{colour} dot", cx=axis(time * 1e3), cy=scattered, r=2))
    parts.append(element("line", class_=f"s-{colour}", x1=mid, x2=mid, y1=middle - 9, y2=middle + 9))
    return parts


def rtf_by_length(report: BenchReport, width: int) -> Html:
    """Real-time factor over the length of the audio; colour is the engine, dashes the precision; log scales."""
    lengths = report.lengths
    if len(lengths) < 2:
        return Html("")
    palette = colours(report)
    values = [timing.rtf for result in report.results for timing in result.timings]
    names = [result.variant if width < _NARROW else label(report, result) for result in report.results]
    names = [_fitting(name, width / 2) for name in names]
    names_width = max(map(len, names)) * _CHARACTER * 1.08 + 14  # bold characters are wider
    top, bottom, left, right = 10, max(330, 20 + 15 * len(report.results)), 52, width - names_width
    across = LogAxis(lengths[0], lengths[-1], left, right, exact=True)
    up = LogAxis(min(values), max(values), bottom, top)
    parts = horizontal_grid(up, left, right)
    parts += [svg_text(across(value), bottom + 20, f"{value:g} s", "middle", "muted") for value in lengths]
    parts.append(svg_text(0, bottom + 40, "real-time factor, lower is faster; logarithmic", "start", "muted"))
    heights = spread([up(result.timings[-1].rtf) for result in report.results])
    for result, name, height in zip(report.results, names, heights):
        colour = palette[result.engine_label]
        parts += _curve(report, result, across, up, colour)
        x, y = across(result.timings[-1].seconds), up(result.timings[-1].rtf)
        parts.append(element("line", class_="lead", x1=x + 4, y1=y, x2=right + 10, y2=height))
        parts.append(svg_text(right + 13, height + 4, name, kind=f"f-{colour}"))
    return svg(width, bottom + 50, parts, "Real-time factor by length of audio")


def _curve(report: BenchReport, result: BenchResult, across: LogAxis, up: LogAxis, colour: str) -> list[Html]:
    path = " ".join(f"{across(timing.seconds):.1f},{up(timing.rtf):.1f}" for timing in result.timings)
    dashes = _DASHES.get(result.precision, "")
    title = element("title", label(report, result))
    parts = [element("polyline", title, class_=f"s-{colour} line", points=path, stroke_dasharray=dashes)]
    for timing in result.timings:
        title = element("title", f"{label(report, result)}, {timing.seconds:g} s: RTF {timing.rtf:.4f}")
        x, y = across(timing.seconds), up(timing.rtf)
        parts.append(element("circle", title, class_=f"f-{colour}", cx=x, cy=y, r=3.5))
    return parts


def latency_against_wer(report: BenchReport, width: int) -> Html:
    """Median latency over WER: the lower left corner is best."""
    seconds = report.reference_length
    if seconds is None:
        return Html("")
    points = [
        (result, result.median(seconds) * 1e3, 100 * result.wer)
        for result in report.results
        if result.wer is not None and result.timing(seconds)
    ]
    if len(points) < 2:
        return Html("")
    palette = colours(report)
    top, bottom, left, right = 14, 330, 52, width - 16
    times, rates = [time for _, time, _ in points], [rate for _, _, rate in points]
    across = LogAxis(min(times), max(times), left, right - (90 if width < _NARROW else 150))
    up = LinearAxis(min(rates), max(rates), bottom, top)
    parts = vertical_grid(across, top, bottom) + horizontal_grid(up, left, right)
    parts.append(
        svg_text(0, bottom + 40, f"WER in %, over median ms for {seconds:g} s of audio", "start", "muted"),
    )
    taken = [(across(time) - 6, up(rate) + 4, across(time) + 6) for _, time, rate in points]
    for result, time, rate in sorted(points, key=lambda point: up(point[2])):
        x, y = across(time), up(rate)
        title = element("title", f"{label(report, result)}: {_ms(time / 1e3)}, WER {rate:.1f} %")
        parts.append(element("circle", title, class_=f"f-{palette[result.engine_label]}", cx=x, cy=y, r=5))
        name = label(report, result) if width >= _NARROW else result.variant
        parts += _point_label(_fitting(name, width - x - 14), x, y, taken)
    height = max(bottom + 50, max(y for _, y, _ in taken) + 12)
    return svg(width, int(height), parts, "Latency against word error rate")


def _point_label(name: str, x: float, y: float, taken: list[tuple[float, float, float]]) -> list[Html]:
    """A label beside a point, moved down while it would cover another; ``taken`` are (left, y, right), and grow."""
    begin, text_y, end = x + 10, y + 4, x + 14 + len(name) * _CHARACTER
    while any(abs(text_y - other) < 14 and begin < last and first < end for first, other, last in taken):
        text_y += 14
    taken.append((begin, text_y, end))
    parts = [svg_text(begin, text_y, name)]
    if abs(text_y - y - 4) > 1:
        parts.append(element("line", class_="lead", x1=x + 5, y1=y, x2=x + 9, y2=text_y - 4))
    return parts


def legend(report: BenchReport) -> Html:
    """Which colour is which engine and which dashes which precision, as a list."""
    items = []
    for name, colour in colours(report).items():
        dot = element("circle", class_=f"f-{colour}", cx=7, cy=7, r=5)
        items.append(element("li", element("svg", dot, width=14, height=14, aria_hidden="true"), name))
    for precision in dict.fromkeys(result.precision for result in report.results if result.precision in _DASHES):
        dashes = _DASHES[precision]
        line = element("line", class_="ink", x1=0, x2=28, y1=7, y2=7, stroke_dasharray=dashes)
        items.append(element("li", element("svg", line, width=28, height=14, aria_hidden="true"), precision))
    return element("ul", *items, class_="legend")


def _fitting(text: str, width: float) -> str:
    """A text, cut with an ellipsis where it is wider than ``width`` pixels."""
    most = max(1, int(width / _CHARACTER))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _summary(report: BenchReport, result: BenchResult, timing: Timing) -> str:
    shares = [f"p{share} {_ms(timing.percentile(share))}" for share in (50, 95, 99)]
    return f"{label(report, result)}: {', '.join(shares)}, {len(timing.times)} runs"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"
