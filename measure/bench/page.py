"""A benchmark as one HTML page."""

from __future__ import annotations

from collections.abc import Callable

from .. import page as kit
from ..page import Html
from . import plots
from .report import BenchReport
from .table import NAMES, absent, footnotes, heading, table
from .verdicts import verdicts


def page(report: BenchReport) -> str:
    """The page of a report."""
    seconds = report.reference_length or 0
    drawn = (
        (f"Latency of {seconds:g} s of audio", plots.distribution, "Each dot is one run; the line is the median."),
        ("Speed by length", plots.rtf_by_length, "Colour is the engine, dashes are the precision."),
        ("Latency against word error rate", plots.latency_against_wer, "Lower left is better."),
    )
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    notes = kit.join([kit.bullets(footnotes(report)), kit.paragraph(versions)])
    sections = [
        kit.section(kit.bullets(verdicts(report))),
        *(_figure(report, title, draw, note) for title, draw, note in drawn),
        kit.section(_table(report), "Table"),
        kit.section(notes, "Notes", "notes"),
    ]
    if report.problems:
        sections.append(kit.section(kit.bullets(report.problems), "Rows that could not be used", "notes"))
    lines = heading(report)
    return kit.document(f"wav2edge bench: {lines[0]}", sections, lines, heading="wav2edge bench")


def _figure(report: BenchReport, title: str, draw: Callable[[BenchReport, int], Html], note: str) -> Html:
    wide, narrow = draw(report, kit.WIDE), draw(report, kit.NARROW)
    if not wide:
        return Html("")
    parts = [plots.legend(report), kit.plots(wide, narrow), kit.paragraph(note, kind="muted")]
    return kit.section(kit.join(parts), title)


def _table(report: BenchReport) -> Html:
    """The names of a row are one cell, which stays in sight while a phone scrolls through the figures."""
    header, rows = table(report)
    names = sum(name in NAMES for name in header)
    lines = [kit.TableRow(row[:names], row[names:]) for row in rows]
    lines += [kit.TableRow(words, [why]) for words, why in absent(report)]
    return kit.table(" ".join(header[:names]), [kit.Column(name) for name in header[names:]], lines)
