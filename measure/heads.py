"""Score a model on a manifest by the figures of its head, and compare two runs of it.

    before = heads.run(fp32, "dev.jsonl")
    after = heads.run(int8, "dev.jsonl")
    print(*before.estimates(), before.change(after))

A manifest (``measure.manifest``) has texts for CTC, labels for a classifier, numbers for a regression, RTTM for a
diarizer; for a speaker model it names speakers, or lists pairs of recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..runtime.audio.read import AudioSource, Recording
from ..runtime.bundle.spec import ModelSpec
from ..runtime.errors import AudioError, InputError
from ..runtime.model import Model
from ..runtime.recordings.heads import Classifier, Embedder, FrameClassifier, Regressor
from ..runtime.recordings.runner import Runner, T
from ..runtime.recordings.transcriber import Transcriber
from . import evaluation, trials
from . import manifest as manifests
from .figures import OF_HEAD
from .manifest import Row
from .runs import Run
from .task import Answer, Task, fitting
from .tasks import Transcription, task_of

Output = TypeVar("Output")
Progress = Callable[[int, int], None]
"""Called with the number of recordings that are done, and of all."""


@dataclass(frozen=True)
class Scanned:
    """The recordings of a manifest that fit some models of one head."""

    rows: tuple[Row, ...]
    tasks: tuple[Task, ...]
    """Of each model: labels may differ."""
    problems: tuple[str, ...]
    """One line for each row that cannot be used."""

    def runs(self, answers: Sequence[Answers]) -> list[Run]:
        """Each model's results on the recordings that all could use.

        Raises InputError where there are none, or too few for the figures.
        """
        used = [index for index in range(len(self.rows)) if all(each.of[index] is not None for each in answers)]
        if not used:
            problems = [problem for each in answers for problem in each.problems]
            raise InputError("; ".join(["no recording could be used", *problems[:3]]))
        rows = [self.rows[index] for index in used]
        runs = []
        for task, each in zip(self.tasks, answers):
            task.check(rows)
            runs.append(task.run(rows, [answer for index in used if (answer := each.of[index]) is not None]))
        return runs


@dataclass(frozen=True)
class Answers:
    """What a model gives for each recording: None, and a line in ``problems``, for one that could not be used."""

    of: tuple[Answer | None, ...]
    problems: tuple[str, ...]


def scan(specs: Sequence[ModelSpec], manifest: str | Path, split: str | None = None) -> Scanned:
    """The rows of a manifest that fit models of one head, which does not transcribe.

    Raises InputError for a head without figures, and where no row can be used.
    """
    head = specs[0].head
    if head not in OF_HEAD:
        raise InputError(f"no figures for a model with the head {head}; there are figures for {', '.join(OF_HEAD)}")
    if head == "xvector":
        rows, pairs, broken = trials.scan(manifest, split)
        tasks = tuple(task_of(spec, pairs) for spec in specs)
        for task in tasks:
            task.check(rows)
        return Scanned(rows, tasks, broken)
    if head == "regression" and len({frozenset(spec.labels) for spec in specs}) > 1:
        given = "; ".join(dict.fromkeys(", ".join(spec.labels) for spec in specs))
        raise InputError(f"the bundles give numbers of other labels ({given}), so they have no figure in common")
    tasks = tuple(task_of(spec) for spec in specs)
    fit, problems = fitting(manifest, tasks, split)
    return Scanned(fit, tasks, problems)


def run(
    model: Model, manifest: str | Path, *, split: str | None = None, progress: Progress = lambda done, of: None
) -> Run:
    """Run a model on every recording of a manifest.

    Raises InputError, naming the line, for a manifest that does not fit the model's head, for a head without figures,
    and for a recording that cannot be used.
    """
    task = task_of(model.spec)
    if isinstance(task, Transcription):
        rows = manifests.read(manifest, split=split, need=task.needs)
        return task.of_texts(rows, _texts(model, rows, progress))
    scanned = scan([model.spec], manifest, split)
    _require_none(scanned.problems)
    given = answers(model, scanned.rows, progress)
    _require_none(given.problems)
    return scanned.runs([given])[0]


def _require_none(problems: Sequence[str]) -> None:
    if problems:
        raise InputError("; ".join(problems[:3]))


def _texts(model: Model, rows: Sequence[Row], progress: Progress) -> list[str]:
    system = evaluation.System(str(model.bundle.path), model.engine, model.variant.name)
    given = evaluation.transcribe_rows(Transcriber(model), system, rows, lambda done: progress(done, len(rows)))
    _require_none(given.problems)
    return [str(text) for text in given.texts]


def answers(model: Model, rows: Sequence[Row], progress: Progress = lambda done, of: None) -> Answers:
    """What a model that does not transcribe gives for each recording, in chunks where that is long."""
    found: list[Answer | None] = []
    problems = []
    give = answer_of(model)
    for number, row in enumerate(rows, 1):
        try:
            found.append(give(row.audio))
        except AudioError as error:
            found.append(None)
            problems.append(f"{row.source}: {error}")
        progress(number, len(rows))
    return Answers(tuple(found), tuple(problems))


def answer_of(model: Model) -> Callable[[AudioSource], Answer]:
    """What a model that does not transcribe gives for a recording, in chunks where that is long.

    The function raises AudioError for a recording that cannot be used. Raises InputError for a head without figures.
    """
    if model.spec.head not in _ANSWERS:
        raise InputError(f"no figures for a model with the head {model.spec.head}")
    return _ANSWERS[model.spec.head](model)


def _scores(model: Model) -> Callable[[AudioSource], Answer]:
    classifier = Classifier(model)
    return lambda source: _of_whole(classifier, source, classifier.scores)


def _numbers(model: Model) -> Callable[[AudioSource], Answer]:
    regressor = Regressor(model)
    return lambda source: _of_whole(regressor, source, regressor.numbers)


def _probabilities(model: Model) -> Callable[[AudioSource], Answer]:
    classifier = FrameClassifier(model)
    return lambda source: _of_whole(classifier, source, lambda recording: classifier.probabilities(recording)[0])


def _embedding(model: Model) -> Callable[[AudioSource], Answer]:
    embedder = Embedder(model)
    return lambda source: np.asarray(_of_whole(embedder, source, embedder.result), np.float32)


def _of_whole(runner: Runner[T], source: AudioSource, outputs: Callable[[Recording], Output]) -> Output:
    """Outputs of a recording; raises AudioError for one that was cut short, since its label is of the whole."""
    recording = runner.open_recording(source)
    values = outputs(recording)
    if not recording.complete:
        raise AudioError(f"{recording.name}: cut short or damaged, so it cannot be scored")
    return values


_ANSWERS: dict[str, Callable[[Model], Callable[[AudioSource], Answer]]] = {
    "sequence_classification": _scores,
    "regression": _numbers,
    "frame_classification": _probabilities,
    "xvector": _embedding,
    "encoder": _embedding,
}
