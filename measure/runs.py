"""A model's results on some recordings, one class for each head, with its figures and a paired change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from ..runtime.errors import InputError
from ..runtime.heads.xvector import OperatingPoint
from . import scoring
from .figures import FIGURES, Change, Estimate, Figure, classification, cosines, diarization, regression, verification
from .figures.bootstrap import Numbers
from .figures.diarization import DiarizationErrors


@dataclass(frozen=True)
class Item:
    """One recording, or pair of them: its name, the reference, the model's answer, and the size of the error."""

    name: str
    reference: str
    answer: str
    wrong: float


def largest_errors(items: Sequence[Item], count: int) -> list[int]:
    """The numbers of at most ``count`` items with errors, the largest first."""
    wrong = [index for index, item in enumerate(items) if item.wrong > 0]
    return sorted(wrong, key=lambda index: (-items[index].wrong, index))[:count]


class Run(Protocol):
    """A model's results on a set of recordings."""

    def estimates(self) -> tuple[Estimate, ...]:
        """The head's figures with 95 % intervals, the main one first."""

    def items(self) -> tuple[Item, ...]:
        """Every recording or pair, in order."""

    def change(self, later: Run) -> Change:
        """How much higher a later run's main figure is, with a paired interval.

        Raises InputError where the other run is of another head, of other recordings or of numbers with other labels.
        """


@dataclass(frozen=True)
class TranscriptionRun:
    """Texts of recordings."""

    names: tuple[str, ...]
    references: tuple[str, ...]
    hypotheses: tuple[str, ...]
    characters: bool = False
    """Whether the main figure is the character error rate, as for text without spaces."""

    @cached_property
    def scores(self) -> scoring.Scores:
        """Word and character errors of each recording."""
        return scoring.score(self.references, self.hypotheses)

    @property
    def edits(self) -> tuple[scoring.Edits, ...]:
        """The errors of each recording that the main figure counts."""
        return self.scores.characters if self.characters else self.scores.words

    def estimates(self) -> tuple[Estimate, ...]:
        """Word and character error rate, the one that counts first."""
        wer, cer = _estimate(FIGURES["wer"], self.scores.wer), _estimate(FIGURES["cer"], self.scores.cer)
        return (cer, wer) if self.characters else (wer, cer)

    def items(self) -> tuple[Item, ...]:
        """Texts."""
        errors = [float(edits.errors) for edits in self.edits]
        return tuple(map(Item, self.names, self.references, self.hypotheses, errors))

    def change(self, later: Run) -> Change:
        """The rise of the error rate."""
        other = _same_kind(self, later)
        _require(other.names == self.names and other.references == self.references)
        rise = scoring.difference(self.edits, other.edits)
        return Change(rise.value, rise.low, rise.high, FIGURES["cer" if self.characters else "wer"])


@dataclass(frozen=True, eq=False)
class ClassificationRun:
    """Class numbers [clips], and the probabilities [clips, classes] that the model gave."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    references: classification.Labels
    probabilities: Numbers

    def estimates(self) -> tuple[Estimate, ...]:
        """Accuracy, unweighted average recall and expected calibration error."""
        scores = classification.score(self.references, self.probabilities)
        return scores.accuracy, scores.uar, scores.ece

    def items(self) -> tuple[Item, ...]:
        """The best class of each clip."""
        best = self.probabilities.argmax(axis=1)
        return tuple(
            Item(name, self.classes[wanted], self.classes[given], float(wanted != given))
            for name, wanted, given in zip(self.names, self.references, best)
        )

    def change(self, later: Run) -> Change:
        """The change of the accuracy."""
        other = _same_kind(self, later)
        wanted, wanted_later = ([run.classes[number] for number in run.references] for run in (self, other))
        _require(other.names == self.names and wanted_later == wanted)
        classes = tuple(dict.fromkeys((*self.classes, *other.classes)))
        first, second = self._columns(classes), other._columns(classes)
        return classification.change("accuracy", self.references, first, second)

    def _columns(self, classes: Sequence[str]) -> Numbers:
        """The probabilities [clips, classes] of such classes, zero for those that the model does not have."""
        if tuple(classes) == self.classes:
            return self.probabilities
        columns = np.zeros((len(self.probabilities), len(classes)), self.probabilities.dtype)
        columns[:, [classes.index(name) for name in self.classes]] = self.probabilities
        return columns


@dataclass(frozen=True, eq=False)
class RegressionRun:
    """Numbers [clips, labels] of the manifest, and of the model."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    references: Numbers
    predictions: Numbers

    def estimates(self) -> tuple[Estimate, ...]:
        """The concordance correlation coefficient, averaged over labels."""
        return (regression.score(self.references, self.predictions),)

    def items(self) -> tuple[Item, ...]:
        """The numbers of each clip, with their errors."""
        off = np.abs(self.references - self.predictions).mean(axis=1)
        return tuple(
            Item(name, self._shown(wanted), self._shown(given), float(wrong))
            for name, wanted, given, wrong in zip(self.names, self.references, self.predictions, off)
        )

    def _shown(self, numbers: Sequence[float]) -> str:
        return ", ".join(f"{label} {number:.2f}" for label, number in zip(self.labels, numbers))

    def change(self, later: Run) -> Change:
        """The change of the coefficient."""
        other = _same_kind(self, later)
        if sorted(other.labels) != sorted(self.labels):
            raise InputError(f"one gives {', '.join(self.labels)}, the other {', '.join(other.labels)}")
        order = [other.labels.index(label) for label in self.labels]
        _require(other.names == self.names and np.array_equal(other.references[:, order], self.references))
        return regression.change(self.references, self.predictions, other.predictions[:, order])


@dataclass(frozen=True, eq=False)
class VerificationRun:
    """Cosines [trials] of pairs of recordings, and whether the same person speaks in both [trials]."""

    names: tuple[str, ...]
    scores: Numbers
    targets: verification.Targets

    def estimates(self) -> tuple[Estimate, ...]:
        """Equal error rate and minimum detection cost."""
        scores = verification.score(self.scores, self.targets)
        return scores.eer, scores.min_dcf

    def operating_point(self, false_accept_rate: float, pairs: str, variant: str) -> OperatingPoint:
        """The lowest threshold with at most that share of different speakers accepted.

        pairs: what the pairs are called; variant: what was run. Raises InputError where there are too few pairs of
        different speakers for one of them to be such a share.
        """
        same, different = int(self.targets.sum()), int((~self.targets).sum())
        verification.require_pairs(false_accept_rate, different)
        threshold, _ = verification.threshold_at(self.scores, self.targets, false_accept_rate)
        threshold = float(np.ceil(threshold * 1e4) / 1e4)
        accepted = self.scores >= threshold
        false_accepts, misses = int(accepted[~self.targets].sum()), int((~accepted)[self.targets].sum())
        return OperatingPoint(false_accept_rate, threshold, false_accepts, different, misses, same, pairs, variant)

    def items(self) -> tuple[Item, ...]:
        """The cosine of each pair, by how far it is from 1 for the same speaker, or above 0 for two."""
        wrong = np.where(self.targets, 1 - self.scores, self.scores)
        words = ["the same speaker" if same else "two speakers" for same in self.targets]
        shown = [f"{score:.2f}" for score in self.scores]
        return tuple(map(Item, self.names, words, shown, map(float, wrong)))

    def change(self, later: Run) -> Change:
        """The rise of the equal error rate."""
        other = _same_kind(self, later)
        _require(other.names == self.names and np.array_equal(other.targets, self.targets))
        return verification.change("eer", self.scores, other.scores, self.targets)


@dataclass(frozen=True)
class DiarizationRun:
    """The errors of each recording."""

    names: tuple[str, ...]
    errors: tuple[DiarizationErrors, ...]

    def estimates(self) -> tuple[Estimate, ...]:
        """Diarization error rate."""
        return (diarization.estimate(self.errors),)

    def items(self) -> tuple[Item, ...]:
        """The error rate of each recording."""
        return tuple(
            Item(name, "its turns", f"{100 * errors.rate:.1f} % wrong", errors.errors)
            for name, errors in zip(self.names, self.errors)
        )

    def change(self, later: Run) -> Change:
        """The rise of the diarization error rate."""
        other = _same_kind(self, later)
        _require(other.names == self.names)
        return diarization.change(self.errors, other.errors)


@dataclass(frozen=True, eq=False)
class EncoderRun:
    """Mean hidden states [recordings, size]; their figure is the cosine to those of another run."""

    names: tuple[str, ...]
    states: Numbers

    def estimates(self) -> tuple[Estimate, ...]:
        """The cosine to itself."""
        return (cosines.score(self.states, self.states),)

    def items(self) -> tuple[Item, ...]:
        """The length of each recording's mean state; there is no reference for it."""
        return tuple(
            Item(name, "", f"length {length:.3g}", 0.0)
            for name, length in zip(self.names, np.linalg.norm(self.states, axis=1))
        )

    def change(self, later: Run) -> Change:
        """The cosine of a later run's states to these, less 1."""
        other = _same_kind(self, later)
        _require(other.names == self.names)
        return cosines.change(self.states, other.states)


_Kind = TypeVar(
    "_Kind", TranscriptionRun, ClassificationRun, RegressionRun, VerificationRun, DiarizationRun, EncoderRun
)


def _same_kind(run: _Kind, later: Run) -> _Kind:
    if not isinstance(later, type(run)):
        raise InputError("the two runs are of different heads")
    return later


def _require(same_recordings: bool) -> None:
    if not same_recordings:
        raise InputError("the two runs are not of the same recordings")


def _estimate(figure: Figure, rate: scoring.Rate) -> Estimate:
    return Estimate(figure, rate.value, rate.low, rate.high, rate.clips)
