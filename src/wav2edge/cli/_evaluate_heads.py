"""``wav2edge evaluate`` of models that do not transcribe: each head by its own figures, compared with the first."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wav2edge.measure import tables
from wav2edge.runtime.errors import InputError

from . import _foreign, _terminal
from ._options import Several
from ._progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from wav2edge.measure.evaluation import System
    from wav2edge.measure.runs import Run
    from wav2edge.runtime.bundle.read import Bundle


def run(
    systems: Sequence[tuple[Bundle, System]],
    several: Several,
    manifest: str,
    split: str | None,
    json: str | None,
    folder: Path | None,
    worst: int,
) -> int:
    """Run every system on the manifest and print its figures; raises InputError for bundles of different heads."""
    from wav2edge.devices.open import open_model
    from wav2edge.measure import evaluation, heads

    of = {bundle.spec.head for bundle, _ in systems}
    if len(of) > 1:
        raise InputError(f"bundles of different heads ({', '.join(sorted(of))}) have no figure in common")
    labels = evaluation.labels([system for _, system in systems])
    runs: list[Run] = []
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        for label, (bundle, system) in zip(labels, systems):
            with open_model(
                bundle, system.engine, system.variant, threads=several.threads, device=several.device
            ) as model:
                runs.append(heads.run(model, manifest, split=split, progress=functools.partial(progress.update, label)))
    document = {"head": next(iter(of)), "manifest": manifest, "systems": _documents(systems, runs)}
    _terminal.write_json(document, json)
    if folder is not None:
        from wav2edge.measure import heads_page
        from wav2edge.runtime import files

        files.write_whole(folder / "index.html", heads_page.page(runs, labels, manifest, worst))
        _terminal.write_json(document, folder / "evaluate.json")
        _terminal.note(f"the page is {folder / 'index.html'}")
    if json != "-":
        _print(labels, runs)
    return 0


def _print(labels: Sequence[str], runs: Sequence[Run]) -> None:
    estimates = runs[0].estimates()
    _terminal.out(f"{estimates[0].items} items; intervals: 95\u00a0%")
    headings = ["", *(estimate.figure.title for estimate in estimates)]
    rows = [[label, *map(str, run.estimates())] for label, run in zip(labels, runs)]
    if len(runs) > 1:
        headings.append(f"{estimates[0].figure.title} against {labels[0]}")
        changes = [""] + [str(runs[0].change(run)) for run in runs[1:]]
        rows = [[*row, change] for row, change in zip(rows, changes)]
    _terminal.out(tables.table(headings, rows))


def _documents(systems: Sequence[tuple[Bundle, System]], runs: Sequence[Run]) -> list[dict[str, object]]:
    return [
        {
            "bundle": system.bundle,
            "engine": system.engine,
            "variant": system.variant,
            "figures": {estimate.figure.name: estimate.to_json() for estimate in run.estimates()},
            "change": None if run is runs[0] else runs[0].change(run).to_json(),
        }
        for (_, system), run in zip(systems, runs)
    ]
