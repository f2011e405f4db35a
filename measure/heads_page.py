"""The page that ``wav2edge evaluate --report`` writes for models that do not transcribe."""

from __future__ import annotations

from collections.abc import Sequence

from . import page as kit
from .page import Column, Html
from .runs import Run, largest_errors


def page(runs: Sequence[Run], labels: Sequence[str], manifest: str, worst: int, problems: Sequence[str] = ()) -> str:
    """The whole page as HTML; labels: what each system is called; worst: items to show of the first one.

    problems: a line for each row that could not be used.
    """
    first = runs[0].estimates()
    line = f"{first[0].items} items. Brackets are 95 % intervals (bootstrap); differences are paired."
    sections = [kit.section(_figures(runs, labels), "Figures")]
    if shown := _worst(runs, labels, worst):
        sections.append(kit.section(shown, f"Largest errors of {labels[0]}"))
    if problems:
        sections.append(kit.section(kit.bullets(problems), "Rows that could not be used", "notes"))
    return kit.document(f"{first[0].figure.title.capitalize()} on {manifest}", sections, [line])


def _figures(runs: Sequence[Run], labels: Sequence[str]) -> Html:
    first = runs[0].estimates()
    columns = [Column(estimate.figure.title) for estimate in first]
    columns.append(Column(f"{first[0].figure.short} against {labels[0]}"))
    rows = []
    for label, run in zip(labels, runs):
        change = "" if run is runs[0] else str(runs[0].change(run))
        rows.append(kit.TableRow([label], [*map(str, run.estimates()), change]))
    return kit.table("system", columns, rows)


def _worst(runs: Sequence[Run], labels: Sequence[str], count: int) -> Html | None:
    """The recordings, or pairs of them, with the first system's largest errors, and every system's answer."""
    of_all = [run.items() for run in runs]
    order = largest_errors(of_all[0], count)
    if not order:
        return None
    columns = [Column(name, numeric=False) for name in ("reference", *labels)]
    rows = [
        kit.TableRow([of_all[0][index].name], [of_all[0][index].reference, *(items[index].answer for items in of_all)])
        for index in order
    ]
    return kit.table("recording", columns, rows)
