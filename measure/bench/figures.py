"""The figure of each configuration on the recordings of a manifest: its word error rate, or that of another head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from ...runtime.bundle.read import Bundle
from ...runtime.errors import EngineError, InputError
from .. import manifest, scoring, trials
from ..figures import Change, Estimate, known
from ..manifest import Row
from ..task import Answer, Task
from ..tasks import task_of
from ..trial_list import Trial
from . import plan as bench_plan
from .audio import manifest_rows, spread_out
from .plan import BenchPlan, Configuration
from .report import BenchResult, ResultFigure, Skipped
from .worker import WHISPER, Worker

Key: TypeAlias = tuple[Path, str]
"""A configuration: its bundle and its name."""
Done = Callable[[int, int], None]
"""Called with the recordings that are done, and all."""


class ManifestFigure(Protocol):
    """What is measured on a manifest besides time."""

    @property
    def rows(self) -> Sequence[Row]:
        """The recordings; none where there is no manifest."""

    @property
    def title(self) -> str:
        """The figure's title, such as ``WER``."""

    def ask(self, worker: Worker, configuration: Configuration, done: Done) -> None:
        """Run a loaded configuration on every recording; raises EngineError."""

    def scored(self, results: Sequence[BenchResult], baseline: str | None) -> list[BenchResult]:
        """The results with their figures, and what changed against the bundle's fp32 (``against``)."""


def of_plan(plan: BenchPlan, folder: Path) -> ManifestFigure:
    """The figures that a plan's manifest gives; folder: where a worker may write its answers.

    Raises InputError for a manifest that does not fit the models' head, and for models of different heads.
    """
    bundles = sorted({one.bundle for one in plan.configurations if one.engine != WHISPER})
    specs = [Bundle.open(path).spec for path in bundles]
    transcribes = {"ctc"} if any(one.engine == WHISPER for one in plan.configurations) else set()
    heads = sorted({spec.head for spec in specs} | transcribes)
    if plan.manifest is None or heads in ([], ["ctc"]):
        return WordFigure(manifest_rows(plan))
    if len(heads) > 1:
        raise InputError(f"models of different heads ({', '.join(heads)}) have no figure in common on one manifest")
    pairs: tuple[Trial, ...] = ()
    if heads == ["xvector"]:
        rows, pairs = trials.read(plan.manifest)
        rows = trials.fewer(rows, pairs, len(rows) if plan.clips is None else plan.clips)
    else:
        rows = spread_out(manifest.read(plan.manifest, need=task_of(specs[0]).needs), plan.clips)
    for spec in specs:
        task_of(spec, pairs).check(rows)
    return HeadFigure(rows, {path: task_of(spec, pairs) for path, spec in zip(bundles, specs)}, folder)


@dataclass(eq=False)
class WordFigure:
    """Word error rates, of the models that transcribe and of the peers."""

    rows: Sequence[Row]
    texts: dict[Key, list[str]] = field(default_factory=dict)
    title: str = "WER"

    def ask(self, worker: Worker, configuration: Configuration, done: Done) -> None:
        """Transcribe every recording."""
        texts = []
        for number, row in enumerate(self.rows):
            done(number, len(self.rows))
            texts.append(worker.transcribe(row.audio))
        self.texts[configuration.bundle, configuration.name] = texts

    def scored(self, results: Sequence[BenchResult], baseline: str | None) -> list[BenchResult]:
        """The results with WER and its rise."""
        references = [row.text for row in self.rows]
        rates = {key: scoring.score(references, texts).wer for key, texts in self.texts.items()}
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
class HeadFigure:
    """The main figure of a head that does not transcribe: accuracy, equal error rate, diarization error rate."""

    rows: Sequence[Row]
    tasks: Mapping[Path, Task]
    """Of each bundle: labels may differ."""
    folder: Path
    answers: dict[Key, list[Answer]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The figure's title, such as ``accuracy``."""
        return next(iter(self.tasks.values())).figure.short

    def ask(self, worker: Worker, configuration: Configuration, done: Done) -> None:
        """Run every recording; the worker writes the model's answers to a file. Raises EngineError for NaN and Inf."""
        answers: list[Answer] = []
        for number, row in enumerate(self.rows):
            done(number, len(self.rows))
            worker.answer(row.audio, self.folder / "answer.npy")
            answer = np.asarray(np.load(self.folder / "answer.npy"), np.float32)
            if not np.isfinite(answer).all():
                raise EngineError(f"{row.audio.name}: NaN or Inf in its output")
            answers.append(answer)
        self.answers[configuration.bundle, configuration.name] = answers

    def scored(self, results: Sequence[BenchResult], baseline: str | None) -> list[BenchResult]:
        """The results with the figure and its change."""
        runs = {key: self.tasks[key[0]].run(self.rows, answers) for key, answers in self.answers.items()}
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
