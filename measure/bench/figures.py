"""The figure of each configuration on the recordings of a manifest: its word error rate, or that of another head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol

import numpy as np

from ...runtime.bundle.read import Bundle
from ...runtime.errors import EngineError, InputError
from .. import scoring, trials
from ..figures import Change, Estimate, known
from ..manifest import Row
from ..runs import Run
from ..task import Answer, Task, fitting
from ..tasks import task_of
from ..trial_list import Trial
from . import plan as bench_plan
from .audio import manifest_rows, spread_out
from .plan import BenchPlan, Configuration
from .report import BenchResult, ResultFigure, Skipped
from .usable import Done, Given, Key, UsableRows
from .worker import WHISPER, Worker


class ManifestFigure(Protocol):
    """What is measured on a manifest besides time."""

    @property
    def rows(self) -> Sequence[Row]:
        """The recordings; none where there is no manifest."""

    @property
    def used(self) -> Sequence[Row]:
        """The recordings that every configuration so far could use."""

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each row of the manifest that could not be used."""

    @property
    def title(self) -> str:
        """The figure's title, such as ``WER``."""

    def ask(self, worker: Worker, configuration: Configuration, done: Done) -> None:
        """Run a loaded configuration on every recording; raises EngineError."""

    def scored(self, results: Sequence[BenchResult], baseline: str | None) -> list[BenchResult]:
        """The results with their figures, and what changed against the bundle's fp32 (``against``).

        All figures are of the recordings that every configuration could use; raises InputError where these are none, or
        too few for the figure.
        """


def of_plan(plan: BenchPlan, folder: Path) -> ManifestFigure:
    """The figures that a plan's manifest gives; folder: where a worker may write its answers.

    Raises InputError for a manifest of which no row fits the models' head, and for models of different heads.
    """
    bundles = sorted({one.bundle for one in plan.configurations if one.engine != WHISPER})
    specs = [Bundle.open(path).spec for path in bundles]
    transcribes = {"ctc"} if any(one.engine == WHISPER for one in plan.configurations) else set()
    heads = sorted({spec.head for spec in specs} | transcribes)
    if plan.manifest is None or heads in ([], ["ctc"]):
        return WordFigure(UsableRows(*manifest_rows(plan)))
    if len(heads) > 1:
        raise InputError(f"models of different heads ({', '.join(heads)}) have no figure in common on one manifest")
    pairs: tuple[Trial, ...] = ()
    if heads == ["xvector"]:
        rows, pairs, refused = trials.scan(plan.manifest)
        rows = trials.fewer(rows, pairs, len(rows) if plan.clips is None else plan.clips)
        for spec in specs:
            task_of(spec, pairs).check(rows)
    else:
        rows, refused = fitting(plan.manifest, [task_of(spec) for spec in specs])
        rows = spread_out(rows, plan.clips)
    tasks = {path: task_of(spec, pairs) for path, spec in zip(bundles, specs)}
    return HeadFigure(UsableRows(rows, refused), tasks, folder)


@dataclass(eq=False)
class _OfManifest(Generic[Given]):
    """The rows of a manifest, and what the configurations gave for them."""

    asked: UsableRows[Given]

    @property
    def rows(self) -> Sequence[Row]:
        """The recordings; none where there is no manifest."""
        return self.asked.rows

    @property
    def used(self) -> Sequence[Row]:
        """The recordings that every configuration so far could use."""
        return self.asked.used

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each row of the manifest that could not be used."""
        return self.asked.problems


@dataclass(eq=False)
class WordFigure(_OfManifest[str]):
    """Word error rates, of the models that transcribe and of the peers."""

    title: str = "WER"

    def ask(self, worker: Worker, configuration: Configuration, done: Done) -> None:
        """Transcribe every recording."""
        key = (configuration.bundle, configuration.name)
        self.asked.ask(key, lambda row: worker.transcribe(row.audio), done)

    def scored(self, results: Sequence[BenchResult], baseline: str | None) -> list[BenchResult]:
        """The results with WER and its rise."""
        references = [row.text for row in self.used]
        if not any(map(scoring.normalize, references)):
            raise InputError("no recording that could be used has a text with words")
        rates = {key: scoring.score(references, texts).wer for key, texts in self.asked.given().items()}
        scored = []
        for result in results:
            rate = rates.get(_key(result))
            if rate is not None:
                first = against(rates, result, baseline)
                rise = None if first is None else known(rate.value - rates[first].value)
                value, low, high = (known(part) for part in (rate.value, rate.low, rate.high))
                result = replace(result, wer=value, wer_low=low, wer_high=high, wer_rise=rise)
            scored.append(result)
        return scored


@dataclass(eq=False)
class HeadFigure(_OfManifest[Answer]):
    """The main figure of a head that does not transcribe: accuracy, equal error rate, diarization error rate."""

    tasks: Mapping[Path, Task]
    """Of each bundle: labels may differ."""
    folder: Path

    @property
    def title(self) -> str:
        """The figure's title, such as ``accuracy``."""
        return next(iter(self.tasks.values())).figure.short

    def ask(self, worker: Worker, configuration: Configuration, done: Done) -> None:
        """Run every recording; the worker writes the model's answers to a file. Raises EngineError for NaN and Inf."""
        file = self.folder / "answer.npy"

        def answer(row: Row) -> Answer:
            worker.answer(row.audio, file)
            given = np.asarray(np.load(file), np.float32)
            if not np.isfinite(given).all():
                raise EngineError(f"{row.audio.name}: NaN or Inf in its output")
            return given

        self.asked.ask((configuration.bundle, configuration.name), answer, done)

    def scored(self, results: Sequence[BenchResult], baseline: str | None) -> list[BenchResult]:
        """The results with the figure and its change."""
        rows = self.used
        if not rows:
            raise InputError("no recording could be used")
        runs: dict[Key, Run] = {}
        for key, answers in self.asked.given().items():
            task = self.tasks[key[0]]
            task.check(rows)
            runs[key] = task.run(rows, answers)
        scored = []
        for result in results:
            run = runs.get(_key(result))
            if run is not None:
                first = against(runs, result, baseline)
                change = None if first is None else runs[first].change(run)
                result = replace(result, figure=_figure(run.estimates()[0], change))
            scored.append(result)
        return scored


def against(keys: Iterable[Key], result: BenchResult, baseline: str | None) -> Key | None:
    """What a result is compared with: its bundle's fp32 on ONNX Runtime, else as the checkpoint, else as the baseline.

    None without fp32: the change of a variant against itself, or another variant, says nothing about what INT8 lost.
    """
    there = set(keys)
    names = (*reversed(bench_plan.references()), *([baseline] if (baseline or "").endswith("/fp32") else []))
    return next((key for name in names if (key := (Path(result.bundle), name)) in there), None)


def measured(figures: ManifestFigure, worker: Worker, configuration: Configuration, done: Done) -> Skipped | None:
    """Run a configuration on the manifest; what to report where it fails."""
    try:
        figures.ask(worker, configuration, done)
    except EngineError as error:
        return Skipped(f"{configuration.name}, {figures.title}", str(error))
    return None


def judged(
    figure: ManifestFigure, results: Sequence[BenchResult], baseline: str | None
) -> tuple[list[BenchResult], list[str]]:
    """The results with their figures, and notes on them: how many recordings they are of, or why they are not known."""
    if not figure.rows:
        return list(results), []
    try:
        scored = figure.scored(results, baseline)
    except InputError as error:
        return list(results), [f"no {figure.title}: {error}"]
    notes = []
    if figure.problems:
        used = len(figure.used)
        notes.append(
            f"{figure.title}: of {used} of {used + len(figure.problems)} recordings; the others could not be used"
        )
    if unknown := [result.name for result in scored if result.figure is not None and result.figure.value is None]:
        why = "fp32 was not measured" if figure.title == "cosine" else "these recordings are too few or too much alike"
        notes.append(f"no {figure.title} of {', '.join(unknown)}: {why}")
    return scored, notes


def _figure(estimate: Estimate, change: Change | None) -> ResultFigure:
    lost = None if change is None else known(change.loss)
    moved = None if change is None else known(change.value)
    if estimate.figure.name == "cosine":  # of hidden states, whose figure is the likeness to those of fp32
        ends = (
            (None, None, None)
            if change is None
            else tuple(known(1 + end) for end in (change.value, change.low, change.high))
        )
        return ResultFigure("cosine", ends[0], ends[1], ends[2], moved, lost)
    return ResultFigure(
        estimate.figure.name, known(estimate.value), known(estimate.low), known(estimate.high), moved, lost
    )


def _key(result: BenchResult) -> Key:
    return Path(result.bundle), result.name
