"""Score a model on a manifest by the figures of its head, and compare two runs of it.

    before = heads.run(fp32, "dev.jsonl")
    after = heads.run(int8, "dev.jsonl")
    print(*before.estimates(), before.change(after))

A manifest has texts for CTC, labels for a classifier, pairs of recordings for a speaker model (``measure.manifest``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..runtime.audio import read
from ..runtime.bundle.spec import ModelSpec
from ..runtime.errors import InputError
from ..runtime.model import Model
from ..runtime.recordings.transcriber import Transcriber
from . import evaluation, scoring
from . import manifest as manifests
from .figures import FIGURES, OF_HEAD, Change, Estimate, Name, classification, verification
from .figures.bootstrap import Numbers

Progress = Callable[[int, int], None]
"""Called with the recordings that are done, and all."""


class Run(Protocol):
    """What a model gave for the recordings of a manifest, and what it should have given."""

    def estimates(self) -> tuple[Estimate, ...]:
        """The head's figures with 95 % intervals, the main one first."""

    def change(self, later: Run) -> Change:
        """How much higher a later run's main figure is, with a paired interval; raises InputError for another set."""


@dataclass(frozen=True)
class TranscriptionRun:
    """Texts of recordings."""

    references: tuple[str, ...]
    hypotheses: tuple[str, ...]

    def estimates(self) -> tuple[Estimate, ...]:
        """Word and character error rate."""
        scores = self._scores()
        return tuple(
            Estimate(FIGURES[name], rate.value, rate.low, rate.high, rate.clips)
            for name, rate in ((_WER, scores.wer), (_CER, scores.cer))
        )

    def change(self, later: Run) -> Change:
        """The rise of the word error rate."""
        other = _same(self, later)
        if other.references != self.references:
            raise InputError(_DIFFERENT)
        rise = scoring.difference(self._scores().words, other._scores().words)
        return Change(rise.value, rise.low, rise.high, FIGURES[_WER])

    def _scores(self) -> scoring.Scores:
        return scoring.score(self.references, self.hypotheses)


@dataclass(frozen=True, eq=False)
class ClassificationRun:
    """Class numbers [clips], and the probabilities [clips, classes] that the model gave."""

    references: classification.Labels
    probabilities: Numbers

    def estimates(self) -> tuple[Estimate, ...]:
        """Accuracy, unweighted average recall and expected calibration error."""
        scores = classification.score(self.references, self.probabilities)
        return scores.accuracy, scores.uar, scores.ece

    def change(self, later: Run) -> Change:
        """The change of the accuracy."""
        other = _same(self, later)
        if not np.array_equal(other.references, self.references):
            raise InputError(_DIFFERENT)
        return classification.change(_ACCURACY, self.references, self.probabilities, other.probabilities)


@dataclass(frozen=True, eq=False)
class VerificationRun:
    """Cosines [trials] of pairs of recordings, and whether the same person speaks in both [trials]."""

    scores: Numbers
    targets: verification.Targets

    def estimates(self) -> tuple[Estimate, ...]:
        """Equal error rate and minimum detection cost."""
        scores = verification.score(self.scores, self.targets)
        return scores.eer, scores.min_dcf

    def change(self, later: Run) -> Change:
        """The rise of the equal error rate."""
        other = _same(self, later)
        if not np.array_equal(other.targets, self.targets):
            raise InputError(_DIFFERENT)
        return verification.change(_EER, self.scores, other.scores, self.targets)


_Kind = TypeVar("_Kind", TranscriptionRun, ClassificationRun, VerificationRun)

_WER: Name = "wer"
_CER: Name = "cer"
_ACCURACY: Name = "accuracy"
_EER: Name = "eer"
_DIFFERENT = "the two runs are not of the same recordings"


def _same(run: _Kind, later: Run) -> _Kind:
    if not isinstance(later, type(run)):
        raise InputError("the two runs are of different heads")
    return later


def run(
    model: Model, manifest: str | Path, *, split: str | None = None, progress: Progress = lambda done, of: None
) -> Run:
    """Run a model on every recording of a manifest.

    Raises InputError, naming the line, for a manifest that does not fit the model's head, and for a head without
    figures, and for a recording that cannot be used.
    """
    head = model.spec.head
    if head not in _RUNS:
        known = ", ".join(name for name in OF_HEAD if name in _RUNS)
        raise InputError(f"no figures for a model with the head {head}; there are figures for {known}")
    return _RUNS[head](model, Path(manifest), split, progress)


def _transcribe(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    rows = manifests.read(manifest, split=split)
    system = evaluation.System(str(model.bundle.path), model.engine, model.variant.name)
    given = evaluation.transcribe_rows(Transcriber(model), system, rows, lambda done: progress(done, len(rows)))
    if given.problems:
        raise InputError("; ".join(given.problems[:3]))
    return TranscriptionRun(tuple(row.text for row in rows), tuple(str(text) for text in given.texts))


def _classify(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    if model.spec.head_options.multi_label:
        raise InputError("no figures for a classifier of which several labels may apply at once")
    rows = manifests.read(manifest, split=split, need="label")
    references = np.array([_class_of(row, model.spec) for row in rows], dtype=np.int64)
    probabilities = []
    for number, row in enumerate(rows, 1):
        probabilities.append(_softmax(_output(model, row.path)))
        progress(number, len(rows))
    return ClassificationRun(references, np.stack(probabilities))


def _class_of(row: manifests.Row, spec: ModelSpec) -> int:
    if row.label not in spec.labels:
        known = ", ".join(spec.labels[:8]) + (", …" if len(spec.labels) > 8 else "")
        raise InputError(f"{row.source}: the model has no label {row.label!r}; it has {known}")
    return spec.labels.index(str(row.label))


def _verify(model: Model, manifest: Path, split: str | None, progress: Progress) -> Run:
    if split is not None:
        raise InputError(f"{manifest}: a list of pairs has no splits")
    trials = manifests.read_trials(manifest)
    paths = list(dict.fromkeys(path for trial in trials for path in (trial.first, trial.second)))
    embeddings: dict[Path, NDArray[np.float64]] = {}
    for number, path in enumerate(paths, 1):
        vector = _output(model, path)
        embeddings[path] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        progress(number, len(paths))
    scores = np.array([float(embeddings[trial.first] @ embeddings[trial.second]) for trial in trials])
    return VerificationRun(scores, np.array([trial.same for trial in trials]))


def _output(model: Model, path: Path) -> NDArray[np.float64]:
    """The first output [size] of a recording that is run as a whole."""
    return model.logits([read.load(path, model.spec.sample_rate)])[0].astype(np.float64)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(logits - logits.max())
    shares: NDArray[np.float64] = odds / odds.sum()
    return shares


_RUNS: dict[str, Callable[[Model, Path, str | None, Progress], Run]] = {
    "ctc": _transcribe,
    "sequence_classification": _classify,
    "xvector": _verify,
}
