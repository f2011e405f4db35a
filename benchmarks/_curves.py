"""Curves on logarithmic axes as one line of SVG, which a page of the documentation can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wav2edge.measure.bench.axes import LogAxis, horizontal_grid, spread, vertical_grid
from wav2edge.measure.page import element, svg, svg_text

COLOURS = ("#2a78d6", "#1a8f63", "#d9541f", "#a99ef2", "#c2488f", "#a37200")
WIDTH, HEIGHT, NAMES = 720, 360, 190
Curve = Sequence[tuple[float, float]]


def drawn(title: str, curves: Mapping[str, Curve]) -> str:
    """Curves of points (x, y) above 0, each with its name at its end; one whose name begins with "limit" is dashed."""
    points = [point for curve in curves.values() for point in curve]
    left, right, top, bottom = 56.0, float(WIDTH - NAMES), 10.0, float(HEIGHT - 50)
    across = LogAxis(min(x for x, _ in points), max(x for x, _ in points), left, right)
    up = LogAxis(min(y for _, y in points), max(y for _, y in points), bottom, top)
    parts = [*vertical_grid(across, top, bottom), *horizontal_grid(up, left, right)]
    heights = spread([up(curve[-1][1]) for curve in curves.values()])
    for number, ((name, curve), height) in enumerate(zip(curves.items(), heights)):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve)
        dashes = "5 4" if name.startswith("limit") else None
        parts.append(element("polyline", class_="line", points=places, stroke=colour, stroke_dasharray=dashes))
        parts += [
            element("circle", element("title", f"{name}: {x:g}, {y:.3g}"), cx=across(x), cy=up(y), r=3, fill=colour)
            for x, y in curve
        ]
        parts.append(svg_text(right + 14, height + 4, name))
    parts.append(svg_text(left, HEIGHT - 6, title, kind="muted"))
    return str(svg(WIDTH, HEIGHT, parts, title)).replace("<svg ", '<svg class="curves" ', 1)
