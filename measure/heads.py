"""Score a model on a manifest by the figures of its head, and compare two runs of it.

    before = heads.run(fp32, "dev.jsonl")
    after = heads.run(int8, "dev.jsonl")
    print(*before.estimates(), before.change(after))

A manifest (``measure.manifest``) has texts for CTC, labels for a classifier, numbers for a regression, RTTM for a
diarizer, and pairs of recordings for a speaker model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..runtime.audio.read import Recording
from ..runtime.bundle.spec import ModelSpec
from ..runtime.errors import AudioError, InputError
from ..runtime.heads import sequence_classification, xvector
from ..runtime.model import Model
from ..runtime.recordings.heads import Classifier, Embedder, FrameClassifier, Regressor
from ..runtime.recordings.runner import Runner, T
from ..runtime.recordings.transcriber import Transcriber
from . import evaluation
from . import manifest as manifests
from .figures import OF_HEAD, diarization
from .manifest import Need, Row
from .runs import ClassificationRun, DiarizationRun, RegressionRun, Run, TranscriptionRun, VerificationRun

Output = TypeVar("Output")
Progress = Callable[[int, int], None]
"""Called with the recordings that are done, and all."""

_MOST_CLASSES = 10_000
"""Of groups of labels together: SUPERB's intents have 336."""


def run(
    model: Model, manifest: str | Path, *, split: str | None = None, progress: Progress = lambda done, of: None
) -> Run:
    """Run a model on every recording of a manifest.

    Raises InputError, naming the line, for a manifest that does not fit the model's head, for a head without figures,
    and for a recording that cannot be used.
    """
    head = model.spec.head
    if head not in _RUNS:
        raise InputError(f"no figures for a model with the head {head}; there are figures for {', '.join(OF_HEAD)}")
    return _RUNS[head](model, Path(manifest), split, progress)


def _transcribe(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    rows = manifests.read(manifest, split=split)
    system = evaluation.System(str(model.bundle.path), model.engine, model.variant.name)
    given = evaluation.transcribe_rows(Transcriber(model), system, rows, lambda done: progress(done, len(rows)))
    if given.problems:
        raise InputError("; ".join(given.problems[:3]))
    return TranscriptionRun(tuple(row.text for row in rows), tuple(str(text) for text in given.texts))


def _classify(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    """Groups of labels count as one class for each combination: a clip is right where every group is."""
    if model.spec.options(sequence_classification.Options).multi_label:
        raise InputError("no figures for a classifier of which several labels may apply at once")
    groups = _groups(model.spec)
    classes = [", ".join(labels) for labels in itertools.product(*groups)]
    rows = _rows(manifest, split, "label")
    references = np.array([_class_of(row, classes) for row in rows], dtype=np.int64)
    classifier = Classifier(model)
    probabilities = []
    for number, row in enumerate(rows, 1):
        scores = _of_whole(classifier, row.path, classifier.scores)
        probabilities.append(_joint(scores.astype(np.float64), [len(group) for group in groups]))
        progress(number, len(rows))
    return ClassificationRun(references, np.stack(probabilities))


def _groups(spec: ModelSpec) -> list[tuple[str, ...]]:
    """The labels of each group, of which exactly one applies."""
    sizes = spec.options(sequence_classification.Options).groups
    if not sizes:
        return [spec.labels]
    ends = list(itertools.accumulate(sizes))
    if ends[-1] != len(spec.labels) or np.prod(sizes, dtype=np.float64) > _MOST_CLASSES:
        raise InputError(f"no figures for groups of {', '.join(map(str, sizes))} labels")
    return [spec.labels[end - size : end] for size, end in zip(sizes, ends)]


def _joint(scores: NDArray[np.float64], sizes: Sequence[int]) -> NDArray[np.float64]:
    """The probability of each combination of labels, from those of each group's labels."""
    joint = np.ones(1)
    for part in np.split(scores, np.cumsum(sizes)[:-1]):
        joint = np.outer(joint, part / part.sum()).ravel()
    return joint


def _class_of(row: Row, classes: Sequence[str]) -> int:
    if row.label not in classes:
        known = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
        raise InputError(f"{row.source}: the model has no label {row.label!r}; it has {known}")
    return classes.index(str(row.label))


def _regress(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    rows = _rows(manifest, split, "values")
    references = np.array([_numbers_of(row, model.spec.labels) for row in rows])
    regressor = Regressor(model)
    predictions = []
    for number, row in enumerate(rows, 1):
        predictions.append(_of_whole(regressor, row.path, regressor.numbers))
        progress(number, len(rows))
    return RegressionRun(references, np.stack(predictions).astype(np.float64))


def _numbers_of(row: Row, labels: Sequence[str]) -> list[float]:
    values = row.values or {}
    missing = [label for label in labels if label not in values]
    if missing:
        raise InputError(f"{row.source}: `values` has no number for {', '.join(missing)}")
    return [values[label] for label in labels]


def _diarize(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    rows = _rows(manifest, split, "rttm")
    references = [_turns_of(row) for row in rows]
    classifier = FrameClassifier(model)
    errors = []
    for number, (row, reference) in enumerate(zip(rows, references), 1):
        given = _of_whole(classifier, row.path, classifier.result)
        turns = [diarization.Turn(turn.start, turn.end, turn.label) for turn in given.turns]
        errors.append(diarization.errors(reference, turns))
        progress(number, len(rows))
    return DiarizationRun(tuple(errors))


def _turns_of(row: Row) -> tuple[diarization.Turn, ...]:
    """The turns of a row's recording: those under its file's name, else all where the RTTM is of one recording."""
    assert row.rttm is not None
    recordings = diarization.read_rttm(row.rttm)
    if row.path.stem in recordings:
        return recordings[row.path.stem]
    if len(recordings) > 1:
        raise InputError(f"{row.source}: {row.rttm} has no turns of {row.path.stem}, but of several other recordings")
    return next(iter(recordings.values()), ())


def _verify(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    if split is not None:
        raise InputError(f"{manifest}: a list of pairs has no splits")
    trials = manifests.read_trials(manifest)
    paths = list(dict.fromkeys(path for trial in trials for path in (trial.first, trial.second)))
    embedder = Embedder(model)
    embeddings: dict[Path, NDArray[np.float32]] = {}
    for number, path in enumerate(paths, 1):
        embeddings[path] = embedder(path)
        progress(number, len(paths))
    scores = np.array([xvector.cosine(embeddings[trial.first], embeddings[trial.second]) for trial in trials])
    return VerificationRun(scores.astype(np.float64), np.array([trial.same for trial in trials]))


def _rows(manifest: Path, split: str | None, need: Need) -> tuple[Row, ...]:
    return manifests.read(manifest, split=split, need=need)


def _of_whole(runner: Runner[T], path: Path, outputs: Callable[[Recording], Output]) -> Output:
    """Outputs of a recording; raises AudioError for one that was cut short, whose label is of all of it."""
    recording = runner.open_recording(path)
    values = outputs(recording)
    if not recording.complete:
        raise AudioError(f"{path}: cut short or damaged, so it cannot be scored")
    return values


_RUNS: dict[str, Callable[[Model, Path, str | None, Progress], Run]] = {
    "ctc": _transcribe,
    "sequence_classification": _classify,
    "regression": _regress,
    "frame_classification": _diarize,
    "xvector": _verify,
}
