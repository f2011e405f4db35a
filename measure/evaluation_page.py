"""The page that ``wav2edge evaluate --report`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import page as kit
from .page import Column, Html

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .scoring import Difference, Rate

_COMPARED = {
    "none": "as they are written",
    "lower": "in lower case",
    "basic": "in lower case and without punctuation",
}


def page(evaluation: Evaluation, labels: Sequence[str], manifest: str, worst: int) -> str:
    """The whole page as HTML; labels: what each system is called."""
    corpora = dict.fromkeys(line.corpus for line in evaluation.lines)
    sections = [_corpus(evaluation, labels, corpus) for corpus in corpora]
    clips = evaluation.worst(worst)
    if clips:
        legend = kit.paragraph(kit.element("del", "Missing"), ", ", kit.element("ins", "recognised instead"), ".")
        shown = kit.join([legend, *(_clip(evaluation, labels, index) for index in clips)])
        sections.append(kit.section(shown, f"Recordings with the most errors of {labels[0]}"))
    if evaluation.problems:
        sections.append(kit.section(kit.bullets(evaluation.problems), "Rows that could not be used", "notes"))
    return kit.document(f"Word error rates on {manifest}", sections, [_summary(evaluation)])


def _summary(evaluation: Evaluation) -> str:
    seconds = max(one.seconds for one in evaluation.hypotheses)
    return (
        f"{len(evaluation.rows)} recordings, {seconds / 60:.1f} minutes. Texts are compared "
        f"{_COMPARED[evaluation.normalization]}. Bars and brackets are 95 % intervals (bootstrap over recordings); "
        "differences are paired."
    )


def _corpus(evaluation: Evaluation, labels: Sequence[str], corpus: str) -> Html:
    lines = [line for line in evaluation.lines if line.corpus == corpus]
    changes = {other.system: other for other in evaluation.comparisons if other.corpus == corpus}
    finite = [x for line in lines for x in (line.scores.wer.high, line.scores.wer.value) if x == x]
    scale = max([*finite, 0.01]) * 1.05
    columns = [Column("WER"), Column(f"0 to {100 * scale:.0f} %"), Column("CER")]
    columns += [Column(f"WER against {labels[0]}")]
    if corpus == evaluation.whole:
        columns += [Column("speed, × real time")]
    rows = []
    for line in lines:
        change = changes.get(line.system)
        compared = ""
        if change is not None:
            compared = _change(change.wer)
        speed = [f"{evaluation.hypotheses[line.system].speed:.1f}"] if corpus == evaluation.whole else []
        wer, cer = line.scores.wer, line.scores.cer
        rows.append(kit.TableRow([labels[line.system]], [_rate(wer), _bar(wer, scale), _rate(cer), compared, *speed]))
    first = lines[0].scores.wer
    counted = kit.paragraph(f"{first.clips} recordings, {first.length} words.", kind="muted")
    return kit.section(kit.join([kit.table("system", columns, rows), counted]), corpus)


def _change(change: Difference) -> str:
    if change.value != change.value:  # no reference words
        return str(change)
    sure = "significant" if change.significant else "could be chance"
    return kit.join([str(change), kit.element("br"), kit.element("small", sure)])


def _rate(rate: Rate) -> str:
    if rate.value != rate.value:  # no reference words
        return "none"
    value = f"{100 * rate.value:.1f} %"
    if rate.low != rate.low:  # a single recording
        return value
    interval = f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"
    return kit.join([value, kit.element("br"), kit.element("small", interval)])


def _bar(rate: Rate, scale: float) -> Html:
    """The interval as a bar, the rate as a line in it."""
    if rate.low != rate.low:  # no interval
        return Html("")
    low, middle, high = (100 * value / scale for value in (rate.low, rate.value, rate.high))
    bar = kit.element("rect", class_="f-c0 soft", x=low, y=5, width=max(high - low, 0.4), height=10)
    line = kit.element("line", class_="s-c0", x1=middle, x2=middle, y1=2, y2=18, vector_effect="non-scaling-stroke")
    label = f"{100 * rate.value:.1f} percent"
    return kit.element("svg", bar, line, viewBox="0 0 100 20", preserveAspectRatio="none", role="img", aria_label=label)


def _clip(evaluation: Evaluation, labels: Sequence[str], index: int) -> Html:
    from .scoring import normalize, word_alignment

    row = evaluation.rows[index]
    items = [kit.element("dt", "reference"), kit.element("dd", row.text)]
    reference = normalize(row.text, evaluation.normalization)
    for label, texts in zip(labels, evaluation.texts):
        pieces = word_alignment(reference, normalize(texts[index], evaluation.normalization))
        items += [kit.element("dt", label), kit.element("dd", kit.word_differences(pieces))]
    heading = kit.element("h3", f"{row.audio.name} ({row.corpus})")
    return kit.join([heading, kit.element("dl", *items)])
