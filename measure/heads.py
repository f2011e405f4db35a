"""Score a model on a manifest by the figures of its head, and compare two runs of it.

    before = heads.run(fp32, "dev.jsonl")
    after = heads.run(int8, "dev.jsonl")
    print(*before.estimates(), before.change(after))

A manifest (``measure.manifest``) has texts for CTC, labels for a classifier, numbers for a regression, RTTM for a
diarizer; for a speaker model it names speakers, or lists pairs of recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..runtime.audio.read import Recording
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
from .task import Answer
from .tasks import Transcription, task_of

Output = TypeVar("Output")
Progress = Callable[[int, int], None]
"""Called with the number of recordings that are done, and of all."""


def run(
    model: Model, manifest: str | Path, *, split: str | None = None, progress: Progress = lambda done, of: None
) -> Run:
    """Run a model on every recording of a manifest.

    Raises InputError, naming the line, for a manifest that does not fit the model's head, for a head without figures,
    and for a recording that cannot be used.
    """
    head = model.spec.head
    if head not in OF_HEAD:
        raise InputError(f"no figures for a model with the head {head}; there are figures for {', '.join(OF_HEAD)}")
    pairs: tuple[manifests.Trial, ...] = ()
    if head == "xvector":
        rows, pairs = trials.read(manifest, split)
    task = task_of(model.spec, pairs)
    if head != "xvector":
        rows = manifests.read(manifest, split=split, need=task.needs)
    if isinstance(task, Transcription):
        return task.of_texts(rows, _texts(model, rows, progress))
    task.check(rows)
    return task.run(rows, _answers(model, rows, progress))


def _texts(model: Model, rows: Sequence[Row], progress: Progress) -> list[str]:
    system = evaluation.System(str(model.bundle.path), model.engine, model.variant.name)
    given = evaluation.transcribe_rows(Transcriber(model), system, rows, lambda done: progress(done, len(rows)))
    if given.problems:
        raise InputError("; ".join(given.problems[:3]))
    return [str(text) for text in given.texts]


def _answers(model: Model, rows: Sequence[Row], progress: Progress) -> list[Answer]:
    """A model's answer for each recording, in chunks where it is long."""
    answers = []
    give = answer_of(model)
    for number, row in enumerate(rows, 1):
        answers.append(give(row.path))
        progress(number, len(rows))
    return answers


def answer_of(model: Model) -> Callable[[Path], Answer]:
    """What a model that does not transcribe gives for a recording, in chunks where that is long.

    The function raises AudioError for a recording that cannot be used. Raises InputError for a head without figures.
    """
    if model.spec.head not in _ANSWERS:
        raise InputError(f"no figures for a model with the head {model.spec.head}")
    return _ANSWERS[model.spec.head](model)


def _scores(model: Model) -> Callable[[Path], Answer]:
    classifier = Classifier(model)
    return lambda path: _of_whole(classifier, path, classifier.scores)


def _numbers(model: Model) -> Callable[[Path], Answer]:
    regressor = Regressor(model)
    return lambda path: _of_whole(regressor, path, regressor.numbers)


def _probabilities(model: Model) -> Callable[[Path], Answer]:
    classifier = FrameClassifier(model)
    return lambda path: _of_whole(classifier, path, lambda recording: classifier.probabilities(recording)[0])


def _embedding(model: Model) -> Callable[[Path], Answer]:
    embedder = Embedder(model)
    return lambda path: np.asarray(_of_whole(embedder, path, embedder.result), np.float32)


def _of_whole(runner: Runner[T], path: Path, outputs: Callable[[Recording], Output]) -> Output:
    """Outputs of a recording; raises AudioError for one that was cut short, since its label is of the whole."""
    recording = runner.open_recording(path)
    values = outputs(recording)
    if not recording.complete:
        raise AudioError(f"{path}: cut short or damaged, so it cannot be scored")
    return values


_ANSWERS: dict[str, Callable[[Model], Callable[[Path], Answer]]] = {
    "sequence_classification": _scores,
    "regression": _numbers,
    "frame_classification": _probabilities,
    "xvector": _embedding,
    "encoder": _embedding,
}
