"""What a model gave for the recordings of a manifest, a kind for each head, with its figures and a paired change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from ..runtime.errors import InputError
from . import scoring
from .figures import FIGURES, Change, Estimate, Figure, classification, diarization, regression, verification
from .figures.bootstrap import Numbers
from .figures.diarization import DiarizationErrors

_WER, _CER = FIGURES["wer"], FIGURES["cer"]


class Run(Protocol):
    """A model's results on a set of recordings."""

    def estimates(self) -> tuple[Estimate, ...]:
        """The head's figures with 95 % intervals, the main one first."""

    def change(self, later: Run) -> Change:
        """How much higher a later run's main figure is, with a paired interval.

        Raises InputError where the other run is of another head or of other recordings.
        """


@dataclass(frozen=True)
class TranscriptionRun:
    """Texts of recordings."""

    references: tuple[str, ...]
    hypotheses: tuple[str, ...]

    def estimates(self) -> tuple[Estimate, ...]:
        """Word and character error rate."""
        scores = scoring.score(self.references, self.hypotheses)
        return _estimate(_WER, scores.wer), _estimate(_CER, scores.cer)

    def change(self, later: Run) -> Change:
        """The rise of the word error rate."""
        other = _same_kind(self, later)
        _require(other.references == self.references)
        scores = [scoring.score(self.references, texts).words for texts in (self.hypotheses, other.hypotheses)]
        rise = scoring.difference(scores[0], scores[1])
        return Change(rise.value, rise.low, rise.high, _WER)


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
        other = _same_kind(self, later)
        _require(np.array_equal(other.references, self.references))
        return classification.change("accuracy", self.references, self.probabilities, other.probabilities)


@dataclass(frozen=True, eq=False)
class RegressionRun:
    """Numbers [clips, labels] of the manifest, and of the model."""

    references: Numbers
    predictions: Numbers

    def estimates(self) -> tuple[Estimate, ...]:
        """The concordance correlation coefficient, averaged over labels."""
        return (regression.score(self.references, self.predictions),)

    def change(self, later: Run) -> Change:
        """The change of the coefficient."""
        other = _same_kind(self, later)
        _require(np.array_equal(other.references, self.references))
        return regression.change(self.references, self.predictions, other.predictions)


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
        other = _same_kind(self, later)
        _require(np.array_equal(other.targets, self.targets))
        return verification.change("eer", self.scores, other.scores, self.targets)


@dataclass(frozen=True)
class DiarizationRun:
    """The errors of each recording."""

    errors: tuple[DiarizationErrors, ...]

    def estimates(self) -> tuple[Estimate, ...]:
        """Diarization error rate."""
        return (diarization.estimate(self.errors),)

    def change(self, later: Run) -> Change:
        """The rise of the diarization error rate."""
        return diarization.change(self.errors, _same_kind(self, later).errors)


_Kind = TypeVar("_Kind", TranscriptionRun, ClassificationRun, RegressionRun, VerificationRun, DiarizationRun)


def _same_kind(run: _Kind, later: Run) -> _Kind:
    if not isinstance(later, type(run)):
        raise InputError("the two runs are of different heads")
    return later


def _require(same_recordings: bool) -> None:
    if not same_recordings:
        raise InputError("the two runs are not of the same recordings")


def _estimate(figure: Figure, rate: scoring.Rate) -> Estimate:
    return Estimate(figure, rate.value, rate.low, rate.high, rate.clips)
