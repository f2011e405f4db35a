"""How the models of each head are measured, for ``evaluate`` and for the judge of ``quantize``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.spec import ModelSpec
from ..runtime.errors import InputError
from ..runtime.heads import ctc, sequence_classification
from .figures import FIGURES, Figure
from .manifest import Need, Row
from .runs import ClassificationRun, EncoderRun, RegressionRun, TranscriptionRun
from .scoring import normalize, without_gaps
from .speaker_tasks import Diarization, SpeakerVerification
from .task import Answer, BaseTask, Likeness, Task, Unit, names_of
from .trial_list import Trial

_MOST_CLASSES = 10_000
"""The most combinations of labels of several groups: SUPERB's intents have 336."""


def task_of(spec: ModelSpec, pairs: Sequence[Trial] = ()) -> Task:
    """The task of a model; pairs: those of a list, for a speaker model (empty: all pairs of named speakers).

    Raises InputError for a classifier of which several labels may apply at once.
    """
    if spec.head == "ctc":
        return Transcription(spec)
    if spec.head == "sequence_classification":
        if spec.options(sequence_classification.Options).multi_label:
            raise InputError("no figures for a classifier of which several labels may apply at once")
        return Classification(spec)
    if spec.head == "regression":
        return Regression(spec)
    if spec.head == "frame_classification":
        return Diarization(spec)
    if spec.head == "xvector":
        return SpeakerVerification(spec, tuple(pairs))
    return Encoding(spec)


def gapless(spec: ModelSpec) -> bool:
    """Whether a model's text has no gaps (``ctc.joined``): a whole clip is one word, and characters must count."""
    return spec.delimiter is None and spec.tokenizer == "char"


@dataclass(frozen=True)
class Transcription(BaseTask):
    """Texts, by their words; by their characters where they have no gaps."""

    needs: Need | None = "text"
    likeness: Likeness = "labels"

    @property
    def unit(self) -> Unit:
        """Words or characters."""
        return "characters" if gapless(self.spec) else "words"

    @property
    def figure(self) -> Figure:
        """Word or character error rate."""
        return FIGURES["cer" if gapless(self.spec) else "wer"]

    def reference(self, row: Row) -> str:
        """The text."""
        return row.text.strip()

    def amount(self, rows: Sequence[Row]) -> int:
        """How many words or characters the texts have."""
        texts = [normalize(row.text) for row in rows]
        return sum(len(without_gaps(text)) if gapless(self.spec) else len(text.split()) for text in texts)

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> TranscriptionRun:
        """The texts of logits, decoded greedily."""
        return self.of_texts(rows, [ctc.joined(ctc.greedy(logits, self.spec), self.spec) for logits in answers])

    def of_texts(self, rows: Sequence[Row], texts: Sequence[str]) -> TranscriptionRun:
        """The texts of a transcriber."""
        references = tuple(self.reference(row) for row in rows)
        return TranscriptionRun(names_of(rows), references, tuple(texts), self.unit == "characters")


@dataclass(frozen=True)
class Classification(BaseTask):
    """Labels. With groups of labels each combination is one class: a clip is right where every group is."""

    unit: Unit = "labels"
    needs: Need | None = "label"
    likeness: Likeness = "labels"
    figure: Figure = FIGURES["accuracy"]

    def reference(self, row: Row) -> str:
        """The label."""
        return row.label or ""

    def answer(self, output: Answer) -> Answer:
        """The score of each label."""
        return sequence_classification.scores(output, self.spec)

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError unless every label is one of the model's."""
        self._references(rows)

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> ClassificationRun:
        """Scores of labels, as probabilities of classes."""
        sizes = [len(group) for group in self._groups()]
        joint = np.stack([_joint(scores.astype(np.float64), sizes) for scores in answers])
        return ClassificationRun(names_of(rows), self._classes(), self._references(rows), joint)

    def _classes(self) -> tuple[str, ...]:
        return tuple(", ".join(labels) for labels in itertools.product(*self._groups()))

    def _references(self, rows: Sequence[Row]) -> NDArray[np.int64]:
        classes = self._classes()
        return np.array([_class_of(row, classes) for row in rows], dtype=np.int64)

    def _groups(self) -> list[tuple[str, ...]]:
        """The labels of each group, of which exactly one applies."""
        labels, sizes = self.spec.labels, self.spec.options(sequence_classification.Options).groups
        if not sizes:
            return [labels]
        ends = list(itertools.accumulate(sizes))
        if ends[-1] != len(labels) or np.prod(sizes, dtype=np.float64) > _MOST_CLASSES:
            raise InputError(f"no figures for groups of {', '.join(map(str, sizes))} labels")
        return [labels[end - size : end] for size, end in zip(sizes, ends)]


@dataclass(frozen=True)
class Regression(BaseTask):
    """A number for each label."""

    unit: Unit = "numbers"
    needs: Need | None = "values"
    likeness: Likeness = "concordance"
    figure: Figure = FIGURES["ccc"]

    def reference(self, row: Row) -> str:
        """The numbers, as JSON."""
        return json.dumps(dict(row.values)) if row.values else ""

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError unless every label has a number."""
        for row in rows:
            self._numbers(row)

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> RegressionRun:
        """The numbers compared with those of the manifest."""
        references = np.array([self._numbers(row) for row in rows])
        return RegressionRun(names_of(rows), self.spec.labels, references, np.stack(answers).astype(np.float64))

    def _numbers(self, row: Row) -> list[float]:
        values = row.values or {}
        missing = [label for label in self.spec.labels if label not in values]
        if missing:
            raise InputError(f"{row.source}: `values` has no number for {', '.join(missing)}")
        return [values[label] for label in self.spec.labels]


@dataclass(frozen=True)
class Encoding(BaseTask):
    """Hidden states, averaged over frames; their only reference is fp32."""

    unit: Unit = "recordings"
    needs: Need | None = None
    likeness: Likeness = "cosine"
    figure: Figure = FIGURES["cosine"]

    def reference(self, row: Row) -> str:
        """The recording."""
        return str(row.audio)

    def answer(self, output: Answer) -> Answer:
        """The mean [size] of hidden states [frames, size]."""
        return np.asarray(output.mean(axis=0), np.float32)

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> EncoderRun:
        """The mean states."""
        return EncoderRun(names_of(rows), np.stack(answers).astype(np.float64))


def _class_of(row: Row, classes: Sequence[str]) -> int:
    if row.label not in classes:
        known = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
        raise InputError(f"{row.source}: the model has no label {row.label!r}; it has {known}")
    return classes.index(str(row.label))


def _joint(scores: NDArray[np.float64], sizes: Sequence[int]) -> NDArray[np.float64]:
    """The probability of each combination of labels, from those of each group's labels."""
    joint = np.ones(1)
    for part in np.split(scores, np.cumsum(sizes)[:-1]):
        joint = np.outer(joint, part / part.sum()).ravel()
    return joint
