"""``wav2edge evaluate`` of models that do not transcribe: the figures of their head, compared with the first model."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wav2edge.measure import tables
from wav2edge.measure.figures import known
from wav2edge.runtime.errors import InputError

from . import _foreign, _options, _terminal
from ._options import Several
from ._progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from wav2edge.measure.evaluation import System
    from wav2edge.measure.heads import Scanned
    from wav2edge.measure.runs import Run
    from wav2edge.runtime.bundle.read import Bundle
    from wav2edge.runtime.heads.xvector import OperatingPoint
    from wav2edge.runtime.heads.xvector import Options as SpeakerOptions


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Which thresholds of a speaker model are wanted, and whether the bundle keeps them."""

    false_accept_rate: tuple[float, ...]
    keep: bool

    def check(self, systems: Sequence[tuple[Bundle, System]]) -> None:
        """Raise InputError for models that have no threshold, and for several bundles to keep one in."""
        from wav2edge.runtime.bundle import shipped

        if self.keep and not self.false_accept_rate:
            raise InputError("--keep stores the thresholds of --false-accept-rate; add it")
        others = {bundle.spec.head for bundle, _ in systems} - {"xvector"}
        if self.false_accept_rate and others:
            raise InputError(f"--false-accept-rate is for speaker models; the head here is {', '.join(sorted(others))}")
        paths = {bundle.path for bundle, _ in systems}
        if self.keep and len(paths) > 1:
            raise InputError("--keep stores thresholds in one bundle; name one with -m")
        if self.keep and shipped.root() in next(iter(paths)).parents:
            raise InputError(f"{next(iter(paths))}: is part of wav2edge; copy it, and name the copy with -m")

    def check_pairs(self, scanned: Scanned) -> None:
        """Raise InputError where a manifest has too few pairs of different speakers for a rate."""
        from wav2edge.measure import trials
        from wav2edge.measure.figures import verification
        from wav2edge.measure.speaker_tasks import SpeakerVerification

        for task in scanned.tasks[:1]:
            if isinstance(task, SpeakerVerification):
                for rate in self.false_accept_rate:
                    verification.require_pairs(rate, trials.count(scanned.rows, task.pairs)[1])

    def measured(self, run: Run, manifest: str, variant: str) -> tuple[list[OperatingPoint], list[str]]:
        """The thresholds of a system, and why one could not be measured; none where no rate was given."""
        from wav2edge.measure.runs import VerificationRun

        name = os.path.basename(manifest)
        points: list[OperatingPoint] = []
        problems: list[str] = []
        if not isinstance(run, VerificationRun):
            return points, problems
        for rate in self.false_accept_rate:
            try:
                points.append(run.operating_point(rate, name, variant))
            except InputError as error:
                problems.append(str(error))
        return points, problems


def run(
    systems: Sequence[tuple[Bundle, System]],
    several: Several,
    manifest: str,
    split: str | None,
    json: str | None,
    folder: Path | None,
    worst: int,
    thresholds: Thresholds,
) -> int:
    """Run every system on the manifest and print its figures; 2 where some recordings could not be used, else 0.

    Raises InputError for bundles of different heads.
    """
    from wav2edge.measure import evaluation

    of = {bundle.spec.head for bundle, _ in systems}
    if len(of) > 1:
        raise InputError(f"bundles of different heads ({', '.join(sorted(of))}) have no figure in common")
    labels = evaluation.labels([system for _, system in systems])
    runs, unusable = _run(systems, labels, several, manifest, split, thresholds)
    measured = [thresholds.measured(run, manifest, system.variant) for run, (_, system) in zip(runs, systems)]
    points = [of_system for of_system, _ in measured]
    without = tuple(dict.fromkeys(problem for _, problems in measured for problem in problems))
    problems = (*unusable, *without)
    document = {
        "head": next(iter(of)),
        "manifest": manifest,
        "systems": _documents(systems, runs, points),
        "items": _items(runs),
        "problems": list(problems),
    }
    _terminal.write_json(document, json)
    if folder is not None:
        from wav2edge.measure import heads_page
        from wav2edge.runtime import files

        files.write_whole(folder / "index.html", heads_page.page(runs, labels, manifest, worst, problems))
        _terminal.write_json(document, folder / "evaluate.json")
        _terminal.note(f"the page is {folder / 'index.html'}")
    if json != "-":
        _print(labels, runs, worst)
        for label, of_system in zip(labels, points):
            for point in of_system:
                _terminal.out(f"{label}: threshold {point.threshold:g} {point}")
    if thresholds.keep and not problems:
        _keep(systems, points)
    for problem in without:
        _terminal.note(problem)
    if problems and thresholds.keep:
        _terminal.note("the thresholds were not kept: they would be of a part of the manifest")
    _terminal.note_unusable(len(unusable), manifest)
    return 2 if problems else 0


def _run(
    systems: Sequence[tuple[Bundle, System]],
    labels: Sequence[str],
    several: Several,
    manifest: str,
    split: str | None,
    thresholds: Thresholds,
) -> tuple[list[Run], tuple[str, ...]]:
    """Every system's results on what all could use, and a line for each row that one could not, which is noted too."""
    from wav2edge.devices.open import open_model
    from wav2edge.measure import heads

    scanned = heads.scan([bundle.spec for bundle, _ in systems], manifest, split)
    thresholds.check_pairs(scanned)
    for problem in scanned.problems:
        _terminal.note(problem)
    answers = []
    with Progress() as progress, _foreign.without_lines(_foreign.MP3_DECODER):
        for label, (bundle, system) in zip(labels, systems):
            with open_model(
                bundle, system.engine, system.variant, threads=several.threads, device=several.device
            ) as model:
                answers.append(heads.answers(model, scanned.rows, functools.partial(progress.update, label)))
    runs = scanned.runs(answers)
    unheard = tuple(dict.fromkeys(problem for each in answers for problem in each.problems))
    for problem in unheard:
        _terminal.note(problem)
    return runs, (*scanned.problems, *unheard)


def _keep(systems: Sequence[tuple[Bundle, System]], points: Sequence[Sequence[OperatingPoint]]) -> None:
    """Store the points in the bundle; those that were measured before for other rates or variants stay."""
    from wav2edge.runtime.bundle.write import set_head_options
    from wav2edge.runtime.heads import xvector

    bundle = systems[0][0]
    options = bundle.spec.options(xvector.Options)
    found = {(point.false_accept_rate, point.variant): point for of_system in reversed(points) for point in of_system}
    kept = [point for point in options.operating_points if (point.false_accept_rate, point.variant) not in found]
    changed = dataclasses.replace(
        options, threshold=points[0][0].threshold, operating_points=(*kept, *reversed(found.values()))
    )
    set_head_options(bundle, changed)
    of_variants = default_thresholds([system for _, system in systems], changed)
    _terminal.note(f"{bundle.path}: verify now takes the threshold {of_variants} where none is given")
    _options.note_lost_signature(bundle)


def default_thresholds(systems: Sequence[System], options: SpeakerOptions) -> str:
    """What ``verify`` takes where no threshold is given: one for each variant that was measured."""
    variants = dict.fromkeys(system.variant for system in systems)
    if len(variants) == 1:
        return f"{options.threshold_of(*variants):g}"
    return ", ".join(f"{options.threshold_of(variant):g} ({variant})" for variant in variants)


def _print(labels: Sequence[str], runs: Sequence[Run], worst: int) -> None:
    from wav2edge.measure.runs import largest_errors

    estimates = runs[0].estimates()
    _terminal.out(f"{estimates[0].items} items; intervals: 95\u00a0%")
    headings = ["", *(estimate.figure.title for estimate in estimates)]
    rows = [[label, *map(str, run.estimates())] for label, run in zip(labels, runs)]
    if len(runs) > 1:
        headings.append(f"{estimates[0].figure.title} against {labels[0]}")
        changes = [""] + [str(runs[0].change(run)) for run in runs[1:]]
        rows = [[*row, change] for row, change in zip(rows, changes)]
    _terminal.out(tables.table(headings, rows))
    of_all = [run.items() for run in runs]
    chosen = largest_errors(of_all[0], worst)
    if chosen:
        _terminal.out(f"\nlargest errors of {labels[0]}:")
        cells = [
            [of_all[0][index].name, of_all[0][index].reference, *(items[index].answer for items in of_all)]
            for index in chosen
        ]
        _terminal.out(tables.table(["", "reference", *labels], cells))


def _items(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Every recording or pair: what the manifest says, what each system answered, and the size of each error."""
    of_all = [run.items() for run in runs]
    return [
        {
            "name": item.name,
            "reference": item.reference,
            "answers": [items[index].answer for items in of_all],
            "errors": [known(items[index].wrong) for items in of_all],
        }
        for index, item in enumerate(of_all[0])
    ]


def _documents(
    systems: Sequence[tuple[Bundle, System]], runs: Sequence[Run], points: Sequence[Sequence[OperatingPoint]]
) -> list[dict[str, object]]:
    return [
        {
            **({"operating_points": [dataclasses.asdict(point) for point in of_system]} if of_system else {}),
            "bundle": system.bundle,
            "engine": system.engine,
            "variant": system.variant,
            "figures": {estimate.figure.name: estimate.to_json() for estimate in run.estimates()},
            "change": None if run is runs[0] else runs[0].change(run).to_json(),
        }
        for (_, system), run, of_system in zip(systems, runs, points)
    ]
