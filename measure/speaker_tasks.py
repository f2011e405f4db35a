"""The tasks of diarizers (who speaks when) and speaker models (whether two recordings have the same speaker)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..runtime import escape
from ..runtime.audio.parts import ROUNDED
from ..runtime.errors import InputError
from ..runtime.heads import frame_classification, xvector
from . import trials as trials_of
from .figures import FIGURES, Figure, diarization
from .manifest import Need, Row
from .runs import DiarizationRun, VerificationRun
from .task import Answer, BaseTask, Likeness, Unit, names_of
from .trial_list import Trial


@dataclass(frozen=True)
class Diarization(BaseTask):
    """Who speaks when."""

    unit: Unit = "turns"
    needs: Need | None = "rttm"
    likeness: Likeness = "labels"
    figure: Figure = FIGURES["der"]

    def reference(self, row: Row) -> str:
        """The file with the turns."""
        return str(row.rttm or "")

    def amount(self, rows: Sequence[Row]) -> int:
        """How many turns they have."""
        return sum(len(_turns_of(row)) for row in rows)

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError unless every recording has its turns."""
        for row in rows:
            _turns_of(row)

    def answer(self, output: Answer) -> Answer:
        """The probability of each label at each frame."""
        return frame_classification.probabilities(output)

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> DiarizationRun:
        """The turns of probabilities [frames, labels] compared with those of RTTM files."""
        errors = []
        for row, probabilities in zip(rows, answers):
            found = frame_classification.turns(probabilities, self.spec)
            turns = [diarization.SpeakerTurn(turn.start, turn.end, turn.label) for turn in found]
            errors.append(diarization.errors(_turns_of(row), turns))
        return DiarizationRun(names_of(rows), tuple(errors))


@dataclass(frozen=True)
class SpeakerVerification(BaseTask):
    """Pairs of recordings: whether the same person speaks in both."""

    pairs: tuple[Trial, ...] = ()
    """The listed pairs; empty: all pairs of recordings whose speakers the manifest names."""
    unit: Unit = "pairs"
    likeness: Likeness = "cosine"
    figure: Figure = FIGURES["eer"]

    @property
    def needs(self) -> Need | None:
        """The speaker, where no list of pairs is given."""
        return None if self.pairs else "speaker"

    def reference(self, row: Row) -> str:
        """The speaker, or with a list of pairs the recording."""
        return str(row.audio) if self.pairs else row.speaker or ""

    def amount(self, rows: Sequence[Row]) -> int:
        """The number of pairs of the same speaker or of different ones, whichever is smaller."""
        return min(trials_of.count(rows, self.pairs))

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError unless there are pairs of both kinds."""
        if self.amount(rows) == 0:
            raise InputError("verification needs pairs of the same speaker and of different speakers")

    def answer(self, output: Answer) -> Answer:
        """The embedding at unit length."""
        return xvector.normalized(output)

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> VerificationRun:
        """The cosine of each pair of embeddings."""
        trials = trials_of.among(rows, self.pairs)
        of = {row.audio: answer for row, answer in zip(rows, answers)}
        scores = [xvector.cosine(of[trial.first], of[trial.second]) for trial in trials]
        names = tuple(f"{trial.first.name}, {trial.second.name}" for trial in trials)
        return VerificationRun(names, np.array(scores, np.float64), np.array([trial.same for trial in trials], bool))


def _turns_of(row: Row) -> tuple[diarization.SpeakerTurn, ...]:
    """The turns of a row's recording: those under its file's name, else all where the RTTM is of one recording.

    RTTM writes names without spaces. Of a row of a part: what is in the part of them, in seconds from its beginning.
    """
    if row.rttm is None:
        return ()
    recordings = diarization.read_rttm(row.rttm)
    found = {row.path.stem, escape.rttm_field(row.path.stem)} & recordings.keys()
    if found:
        turns = recordings[found.pop()]
    elif len(recordings) > 1:
        raise InputError(f"{row.source}: {row.rttm} has no turns of {row.path.stem}, but of several other recordings")
    else:
        turns = next(iter(recordings.values()), ())
    begin = row.offset or 0.0
    end = math.inf if row.seconds is None else begin + row.seconds + (ROUNDED if row.offset is None else 0.0)
    inside = (replace(turn, start=max(turn.start, begin), end=min(turn.end, end)) for turn in turns)
    return tuple(
        replace(turn, start=turn.start - begin, end=turn.end - begin) for turn in inside if turn.start < turn.end
    )
