"""The report of a quantisation as one HTML file that needs nothing else: figures, plots (SVG), texts side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .clips import rate_name
from .sensitivity import Sensitivity

if TYPE_CHECKING:
    from .quantize import Calibration, Outcome

WORST = 8
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#1c2430;background:#fff}
table{border-collapse:collapse;width:100%;margin:1em 0}td,th{border-bottom:1px solid #d5dbe3;padding:.35em .6em;
text-align:left;vertical-align:top}td.n,th.n{text-align:right;white-space:nowrap}svg{max-width:100%;height:auto}
.bad{color:#a3201d}.good{color:#1d6b35}small{color:#5a6675}del{color:#a3201d}ins{color:#1d6b35;text-decoration:none}
"""


def page(made: Calibration) -> str:
    """The whole page."""
    name = escape(made.bundle.path.resolve().name)
    refused = f"<p class=bad>The bundle is as it was: {escape(made.refused)}</p>" if made.refused else ""
    judge = made.judge
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}: quantisation</title><style>{_STYLE}</style>",
        f"<h1>{name}: quantisation</h1>{refused}",
        f"<p>Judged on {len(judge.references)} clips, {judge.dev.words} {judge.dev.unit}. "
        f"fp32: {judge.fp32.bytes / 1e6:.1f} MB, {rate_name(made.judge.dev.unit)} {judge.reference.wer}.</p>",
        "<h2>Variants</h2>",
        _table(made.outcomes, rate_name(made.judge.dev.unit)),
        "<h2>Size, words and time</h2>",
        _scatter(made),
    ]
    for scheme, found in made.sensitivities.items():
        floats = {layer for o in made.outcomes if o.variant.name == f"int8-{scheme}" for layer in o.kept_float}
        parts += [
            f"<h2>Sensitivity of each layer, {escape(scheme)}</h2>",
            "<p>Signal to noise of the logits, this layer alone in INT8; shorter is worse. Dark: left in float.</p>",
            _bars(found, floats),
        ]
    if not made.sensitivities:
        parts.append("<h2>Sensitivity of each layer</h2><p>Not measured: nothing was searched for (--no-search).</p>")
    for outcome in made.outcomes:
        parts.append(_worst(made, outcome))
    return "\n".join(parts) + "</html>\n"


def _table(outcomes: Sequence[Outcome], rate: str) -> str:
    head = "".join(
        f"<th{' class=n' if number else ''}>{title}</th>"
        for title, number in (
            ("variant", False),
            ("MB", True),
            (f"{rate} [95 %]", True),
            ("rise [95 %]", True),
            ("tokens", True),
            ("SQNR", True),
            ("time", True),
            ("verdict", False),
            ("in float, and why", False),
        )
    )
    rows = []
    for outcome in outcomes:
        measured = outcome.measured
        kept = "<br>".join(f"{escape(layer)} <small>{escape(why)}</small>" for layer, why in outcome.kept_float.items())
        tone = "good" if outcome.verdict.kept and not outcome.verdict.forced else "bad"
        rows.append(
            f"<tr><td>{escape(outcome.variant.name)}</td><td class=n>{outcome.variant.bytes / 1e6:.1f}</td>"
            f"<td class=n>{measured.wer}</td><td class=n>{measured.rise}</td>"
            f"<td class=n>{100 * measured.token_agreement:.2f} %</td><td class=n>{measured.sqnr_db:.1f} dB</td>"
            f"<td class=n>{_time(outcome)}<br><small>{escape(measured.engine)}"
            f"</small></td><td class={tone}>{escape(outcome.verdict.text)}</td><td>{kept or 'nothing'}</td></tr>"
        )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _time(outcome: Outcome) -> str:
    if math.isnan(outcome.latency_ratio):
        return "not timed here"
    return f"{outcome.latency_ms:.0f} ms, {outcome.latency_ratio:.2f}×"


def _bars(found: Sequence[Sensitivity], floats: set[str]) -> str:
    row, left, width = 18, 330, 430
    top = max([item.sqnr_db for item in found] + [1.0])
    lines = []
    for index, item in enumerate(found):
        y = index * row
        length = max(1.0, width * max(item.sqnr_db, 0.0) / top)
        colour = "#24415f" if item.layer in floats else "#7fa7cf"
        lines.append(
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(item.layer)}</text>'
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{row - 5}" fill="{colour}"/>'
            f'<text x="{left + length + 6:.1f}" y="{y + 13}">{item.sqnr_db:.1f} dB, '
            f"{100 * item.cost:.1f} % of the work</text>"
        )
    height = len(found) * row + 4
    return f'<svg viewBox="0 0 960 {height}" width="960" font-size="12" role="img">{"".join(lines)}</svg>'


def _scatter(made: Calibration) -> str:
    """Time against WER; the area of a dot is the size of the file. What was not timed here has no dot."""
    judge = made.judge
    points = [("fp32", 1.0, 100 * judge.reference.wer.value, judge.fp32.bytes, "#555")]
    for outcome in made.outcomes:
        if math.isnan(outcome.latency_ratio):
            continue
        colour = "#1d6b35" if outcome.verdict.kept else "#a3201d"
        wer = 100 * outcome.measured.wer.value
        points.append((outcome.variant.name, outcome.latency_ratio, wer, outcome.variant.bytes, colour))
    right = max(point[1] for point in points) * 1.15
    low, high = min(point[2] for point in points), max(point[2] for point in points)
    margin = max(0.15 * (high - low), 0.5)
    low, high = max(0.0, low - margin), high + margin
    biggest = max(point[3] for point in points)
    drawn = []
    for name, ratio, wer, size, colour in points:
        x, y = 60 + 780 * ratio / right, 330 - 300 * (wer - low) / (high - low)
        radius = max(4.0, 22 * (size / biggest) ** 0.5)
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity=".35" stroke="{colour}"/>'
            f'<text x="{x + radius + 4:.1f}" y="{y + 4:.1f}">{escape(name)} {size / 1e6:.1f} MB</text>'
        )
    axes = (
        '<path d="M60 20V330H900" fill="none" stroke="#8894a3"/>'
        f'<text x="480" y="365" text-anchor="middle">time, fp32 on the same engine = 1 (to {right:.2f})</text>'
        f'<text x="54" y="334" text-anchor="end">{low:.1f} %</text>'
        f'<text x="54" y="30" text-anchor="end">{high:.1f} %</text>'
        f'<text x="66" y="16">{rate_name(made.judge.dev.unit)}</text>'
    )
    return f'<svg viewBox="0 0 960 375" width="960" font-size="12" role="img">{axes}{"".join(drawn)}</svg>'


def _worst(made: Calibration, outcome: Outcome) -> str:
    """The clips that lost most words against fp32, text beside text."""
    judge = made.judge
    lost = [
        (new.errors - old.errors, index)
        for index, (old, new) in enumerate(zip(judge.reference.edits, outcome.measured.heard.edits))
    ]
    changed = [
        (gap, index)
        for gap, index in sorted(lost, key=lambda pair: (-pair[0], pair[1]))
        if judge.reference.texts[index] != outcome.measured.heard.texts[index]
    ][:WORST]
    title = f"<h2>{escape(outcome.variant.name)}: worst clips</h2>"
    if not changed:
        return f"{title}<p>Every clip has fp32's text.</p>"
    rows = "".join(
        f"<tr><td>{escape(judge.dev.rows[index].path.name)}</td><td class=n>{gap:+d}</td>"
        f"<td>{escape(judge.references[index])}</td>"
        f"<td>{_marked(judge.reference.texts[index], judge.references[index])}</td>"
        f"<td>{_marked(outcome.measured.heard.texts[index], judge.reference.texts[index])}</td></tr>"
        for gap, index in changed
    )
    head = (
        f"<tr><th>clip</th><th class=n>{judge.dev.unit}</th><th>reference</th><th>fp32</th><th>this variant</th></tr>"
    )
    return f"{title}<table>{head}{rows}</table>"


def _marked(text: str, beside: str) -> str:
    """The words of a text; those that the other text lacks are marked."""
    other = set(beside.lower().split())
    words = (escape(w) if w.lower() in other else f"<del>{escape(w)}</del>" for w in text.split())
    return " ".join(words) or "<small>nothing</small>"
