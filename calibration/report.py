"""The report of a quantisation as one HTML page: figures, plots, and the texts of the clips that lost most."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from wav2edge.measure import page as kit
from wav2edge.measure.figures import Figure
from wav2edge.measure.page import Column, Html, TableRow
from wav2edge.measure.runs import Item
from wav2edge.measure.scoring import normalize, word_alignment
from wav2edge.measure.task import Likeness

from .sensitivity import Sensitivity

if TYPE_CHECKING:
    from .judge import Judge
    from .quantize import Calibration, Outcome

WORST = 8
"""Clips shown for each variant: as many as one can look through."""
_ROW, _LINE, _TEXT = 22, 15, 7.2
"""Height of a bar's row, of a line of text, and the width of one character, all at 13 px, in pixels."""


def page(made: Calibration) -> str:
    """The whole page."""
    name = f"{made.bundle.directory.resolve().name}: quantisation"
    judge = made.judge
    task = judge.task
    line = (
        f"Judged on {len(judge.dev.rows)} recordings, {judge.dev.amount} {task.unit}. "
        f"fp32: {judge.fp32.bytes / 1e6:.1f} MB, {task.figure.short} {judge.reference.run.estimates()[0]}."
    )
    parts = []
    if made.refused:
        parts.append(kit.section(kit.paragraph(f"The bundle is unchanged: {made.refused}", kind="bad")))
    parts.append(kit.section(_table(made.outcomes, task.figure, task.likeness), "Variants"))
    parts.append(
        kit.section(kit.plots(*(_scatter(made, w) for w in (kit.WIDE, kit.NARROW))), f"Size, {task.figure.short}, time")
    )
    parts += [_sensitivities(made, scheme, found) for scheme, found in made.sensitivities.items()]
    if not made.sensitivities:
        why = "no search was asked for" if made.outcomes else "no variant was made"
        parts.append(kit.section(kit.paragraph(f"Not measured: {why}."), "Sensitivity of each layer"))
    parts += [_worst(judge, outcome) for outcome in made.outcomes]
    return kit.document(name, parts, [line])


_ALIKE: Mapping[Likeness, str] = {
    "labels": "frames with fp32's label",
    "cosine": "cosine to fp32",
    "concordance": "concordance with fp32",
}


def _table(outcomes: Sequence[Outcome], figure: Figure, kind: Likeness) -> Html:
    change = "rise" if figure.better == "lower" else "change"
    numbers = ("MB", f"{figure.short} [95 %]", f"{change} [95 %]", _ALIKE[kind], "SQNR", "time")
    columns = [*map(Column, numbers), Column("verdict", numeric=False), Column("in float, and why", numeric=False)]
    rows = []
    for outcome in outcomes:
        measured = outcome.measured
        good = outcome.verdict.kept and not outcome.verdict.forced
        kept = [_with_note(layer, why) for layer, why in outcome.kept_float.items()]
        cells = [
            f"{outcome.variant.bytes / 1e6:.1f}",
            str(measured.figure),
            str(measured.change),
            f"{100 * measured.likeness:.2f} %" if kind == "labels" else f"{measured.likeness:.4f}",
            f"{measured.sqnr_db:.1f} dB",
            _with_note(_time(outcome), measured.engine),
            kit.element("span", outcome.verdict.text, class_="good" if good else "bad"),
            kit.join(kept, kit.element("br")) if kept else "nothing",
        ]
        rows.append(TableRow([outcome.variant.name], cells))
    return kit.table("variant", columns, rows)


def _with_note(text: str, note: str) -> Html:
    return kit.join([text, kit.element("small", note)], " ")


def _time(outcome: Outcome) -> str:
    if math.isnan(outcome.latency_ratio):
        return "not timed here"
    return f"{outcome.latency_ms:.0f} ms, {outcome.latency_ratio:.2f}×"


def _sensitivities(made: Calibration, scheme: str, sensitivities: Sequence[Sensitivity]) -> Html:
    floats = {layer for o in made.outcomes if o.variant.name.startswith(f"int8-{scheme}") for layer in o.kept_float}
    note = "Signal to noise of the logits with this layer alone in INT8; shorter is worse. Full colour: left in float."
    drawn = kit.plots(*(_bars(sensitivities, floats, scheme, width) for width in (kit.WIDE, kit.NARROW)))
    return kit.section(kit.join([kit.paragraph(note, kind="muted"), drawn]), f"Sensitivity of each layer, {scheme}")


def _bars(sensitivities: Sequence[Sensitivity], floats: Collection[str], scheme: str, width: int) -> Html:
    """One bar for each layer; its name is beside it on a wide screen and above it on a narrow one."""
    narrow = width < kit.WIDE
    left = 0.0 if narrow else max(len(item.layer) for item in sensitivities) * _TEXT + 12
    row = 2 * _ROW if narrow else _ROW
    figures = [
        f"{item.sqnr_db:.1f} dB" + ("" if narrow else f", {100 * item.cost:.1f} % of the work")
        for item in sensitivities
    ]
    longest = width - left - max(map(len, figures)) * _TEXT - 8
    top = max([item.sqnr_db for item in sensitivities] + [1.0])
    parts = []
    for index, (item, figure) in enumerate(zip(sensitivities, figures)):
        y = (index + 1) * row - 16
        length = max(1.0, longest * max(item.sqnr_db, 0.0) / top)
        kind = "f-c0" if item.layer in floats else "f-c0 soft"
        parts.append(kit.element("rect", x=left, y=y, width=round(length, 1), height=12, class_=kind))
        parts.append(kit.svg_text(left + length + 6, y + 11, figure, kind="muted"))
        if narrow:
            parts.append(kit.svg_text(0, y - 6, item.layer))
        else:
            parts.append(kit.svg_text(left - 8, y + 11, item.layer, "end"))
    return kit.svg(width, len(sensitivities) * row + 4, parts, f"Sensitivity of each layer, {scheme}")


def _scatter(made: Calibration, width: int) -> Html:
    """Time against the figure; the area of a dot is the size of the files. Variants without a time have no dot."""
    judge = made.judge
    rate = judge.task.figure.short
    scale, digits, unit = (100, 1, " %") if judge.task.figure.percent else (1, 3, "")
    points = [("fp32", 1.0, scale * judge.reference.run.estimates()[0].value, judge.fp32.bytes, "f-muted")]
    for outcome in made.outcomes:
        if not math.isnan(outcome.latency_ratio):
            kind = "f-good" if outcome.verdict.kept else "f-bad"
            value = scale * outcome.measured.figure.value
            points.append((outcome.variant.name, outcome.latency_ratio, value, outcome.variant.bytes, kind))
    right = max(point[1] for point in points) * 1.15
    low, high = min(point[2] for point in points), max(point[2] for point in points)
    margin = max(0.15 * (high - low), 0.005 * scale)
    low, high = max(0.0, low - margin), high + margin
    biggest = max(point[3] for point in points)
    left, bottom, top, room = 52, 300, 30, 190 if width == kit.WIDE else 150
    parts = [
        kit.element("path", d=f"M{left} {top - 10}V{bottom}H{width}", fill="none", class_="grid"),
        kit.svg_text(width, bottom + 22, f"time, fp32 on the same engine = 1 (to {right:.2f})", "end", "muted"),
        kit.svg_text(left - 6, bottom, f"{low:.{digits}f}{unit}", "end", "muted"),
        kit.svg_text(left - 6, top, f"{high:.{digits}f}{unit}", "end", "muted"),
        kit.svg_text(left + 6, top - 14, rate, kind="muted"),
    ]
    label = float(top) - _LINE
    for name, ratio, value, size, kind in sorted(points, key=lambda point: -point[2]):
        x = left + (width - left - room) * ratio / right
        y = bottom - (bottom - top) * (value - low) / (high - low)
        radius = max(4.0, 20 * (size / biggest) ** 0.5)
        label = max(y, label + _LINE)  # below the label above it
        parts.append(kit.element("circle", cx=round(x, 1), cy=round(y, 1), r=round(radius, 1), class_=f"{kind} soft"))
        parts.append(kit.svg_text(x + radius + 4, label + 4, f"{name} {size / 1e6:.1f} MB"))
    return kit.svg(width, bottom + 30, parts, f"{rate} of each variant against its time")


def _worst(judge: Judge, outcome: Outcome) -> Html:
    """The clips whose answer changed, those with most new errors first."""
    before, after = judge.reference.run.items(), outcome.measured.hypotheses.run.items()
    gaps = [new.wrong - old.wrong for old, new in zip(before, after)]
    order = sorted(range(len(gaps)), key=lambda index: (-gaps[index], index))
    changed = [index for index in order if before[index].answer != after[index].answer][:WORST]
    title = f"{outcome.variant.name}: clips that changed most"
    spoken = judge.bundle.spec.head == "ctc"
    if not changed:
        return kit.section(kit.paragraph(f"Every clip has fp32's {'text' if spoken else 'answer'}."), title)
    columns = [Column(f"more wrong {judge.task.unit}" if spoken else "more wrong")]
    columns += [Column(name, numeric=False) for name in ("reference", "fp32", "this variant")]
    shown = _texts if spoken else _answers
    gap = "+d" if spoken else "+.2f"
    rows = [
        TableRow(
            [before[index].name],
            [f"{int(gaps[index]) if spoken else gaps[index]:{gap}}", *shown(before[index], after[index])],
        )
        for index in changed
    ]
    note = "Struck out: in the column to the left only; emphasised: here only." if spoken else ""
    return kit.section(kit.join([kit.table("clip", columns, rows), kit.paragraph(note, kind="muted")]), title)


def _texts(fp32: Item, other: Item) -> tuple[str | Html, ...]:
    return fp32.reference, _differences(fp32.reference, fp32.answer), _differences(fp32.answer, other.answer)


def _answers(fp32: Item, other: Item) -> tuple[str | Html, ...]:
    return fp32.reference, fp32.answer, other.answer


def _differences(reference: str, text: str) -> Html:
    return kit.word_differences(word_alignment(normalize(reference), normalize(text)))
