"""Diarization error rate: a system's answer to who spoke when, against a reference.

NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan": the time that is missed, falsely
detected or assigned to another speaker, over the time spoken in the reference, with speakers mapped one to one so that
they overlap most. Where several speak at once, each counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import InputError
from . import FIGURES, Change, Estimate
from .bootstrap import interval_of_ratio

COLLAR = 0.0
"""Seconds around each boundary of the reference that are not scored: none, as in DIHARD; NIST's evaluations used 0.25,
which hides most short turns."""
_MAX_RTTM_BYTES = 64 * 2**20
"""Largest RTTM file: a turn has about 60 bytes, and a meeting of an hour about 1 000 turns."""


@dataclass(frozen=True)
class SpeakerTurn:
    """A speaker from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of speech in the reference, and of each error. mapping: from reference speakers to the system's."""

    speech: float
    missed: float
    false_alarm: float
    confusion: float
    mapping: Mapping[str, str]

    @property
    def errors(self) -> float:
        """All three errors together, in seconds."""
        return self.missed + self.false_alarm + self.confusion

    @property
    def rate(self) -> float:
        """The diarization error rate; NaN without speech. It exceeds 1 where false alarms do."""
        return self.errors / self.speech if self.speech > 0 else float("nan")


def errors(
    reference: Sequence[SpeakerTurn], hypothesis: Sequence[SpeakerTurn], *, collar: float = COLLAR
) -> DiarizationErrors:
    """The errors of one recording; collar: seconds on each side of a reference boundary that are not scored."""
    pieces = _pieces(reference, hypothesis, collar)
    mapping = _best_mapping(pieces)
    speech = missed = false_alarm = confusion = 0.0
    for length, spoken, answer in pieces:
        right = sum(mapping.get(speaker) in answer for speaker in spoken)
        speech += length * len(spoken)
        missed += length * max(0, len(spoken) - len(answer))
        false_alarm += length * max(0, len(answer) - len(spoken))
        confusion += length * (min(len(spoken), len(answer)) - right)
    return DiarizationErrors(speech, missed, false_alarm, confusion, mapping)


def estimate(recordings: Sequence[DiarizationErrors], *, seed: int = 0) -> Estimate:
    """The pooled rate of recordings (all errors over all speech) with its 95 % interval over recordings."""
    wrong, speech = _columns(recordings)
    if speech.sum() <= 0:
        return Estimate(FIGURES["der"], float("nan"), float("nan"), float("nan"), len(recordings))
    low, high = interval_of_ratio(wrong, speech, seed=seed)
    return Estimate(FIGURES["der"], float(wrong.sum() / speech.sum()), low, high, len(recordings))


def change(first: Sequence[DiarizationErrors], second: Sequence[DiarizationErrors], *, seed: int = 0) -> Change:
    """The second system's rate minus the first's, with a paired interval over the same recordings.

    Raises InputError where the references differ.
    """
    (before, speech), (after, same) = _columns(first), _columns(second)
    if speech.shape != same.shape or not np.allclose(speech, same):
        raise InputError("the two systems were not scored on the same references")
    if speech.sum() <= 0:
        return Change(float("nan"), float("nan"), float("nan"), FIGURES["der"])
    gap = after - before
    return Change(float(gap.sum() / speech.sum()), *interval_of_ratio(gap, speech, seed=seed), FIGURES["der"])


def _columns(recordings: Sequence[DiarizationErrors]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.array([one.errors for one in recordings], dtype=np.float64),
        np.array([one.speech for one in recordings], dtype=np.float64),
    )


_Piece = tuple[float, frozenset[str], frozenset[str]]
"""Seconds in which the same speakers speak throughout, in the reference and in the hypothesis."""


def _pieces(reference: Sequence[SpeakerTurn], hypothesis: Sequence[SpeakerTurn], collar: float) -> list[_Piece]:
    edges = [edge for turn in reference for edge in (turn.start, turn.end)]
    unscored = [SpeakerTurn(edge - collar, edge + collar, "") for edge in edges] if collar > 0 else []
    times = sorted({edge for turn in chain(reference, hypothesis, unscored) for edge in (turn.start, turn.end)})
    layers = [_speakers_at(times, turns) for turns in (reference, hypothesis, unscored)]
    return [
        (end - start, truth, answer)
        for (start, end), truth, answer, skipped in zip(pairwise(times), *layers)
        if not skipped and (truth or answer)
    ]


def _speakers_at(times: Sequence[float], turns: Iterable[SpeakerTurn]) -> list[frozenset[str]]:
    """The speakers in each interval between two times; a speaker whose turns overlap counts once."""
    starting: dict[float, list[str]] = {}
    ending: dict[float, list[str]] = {}
    for turn in turns:
        if turn.end > turn.start:
            starting.setdefault(turn.start, []).append(turn.speaker)
            ending.setdefault(turn.end, []).append(turn.speaker)
    open_turns: dict[str, int] = {}
    speaking = []
    for time in times[:-1]:
        for speaker in ending.get(time, ()):
            open_turns[speaker] -= 1
        for speaker in starting.get(time, ()):
            open_turns[speaker] = open_turns.get(speaker, 0) + 1
        speaking.append(frozenset(speaker for speaker, count in open_turns.items() if count > 0))
    return speaking


def _best_mapping(pieces: Sequence[_Piece]) -> dict[str, str]:
    """The one-to-one mapping of speakers under which they speak at the same time for longest."""
    truth = sorted({speaker for _, names, _ in pieces for speaker in names})
    answer = sorted({speaker for _, _, names in pieces for speaker in names})
    if not truth or not answer:
        return {}
    together = np.zeros((len(truth), len(answer)))
    rows, columns = ({name: number for number, name in enumerate(names)} for names in (truth, answer))
    for length, reference_speakers, system_speakers in pieces:
        for one in reference_speakers:
            for other in system_speakers:
                together[rows[one], columns[other]] += length
    return {truth[row]: answer[column] for row, column in assign(together) if together[row, column] > 0}


def assign(gain: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) of a matrix, each row and column once, whose sum is largest.

    The Hungarian method by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987), cubic in the size.
    """
    if gain.shape[0] > gain.shape[1]:
        return [(row, column) for column, row in assign(gain.T)]
    cost = gain.max(initial=0.0) - gain
    row_of = np.full(cost.shape[1], -1)
    row_price, column_price = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    for row in range(cost.shape[0]):
        _augment(cost, row, row_of, row_price, column_price)
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


def _augment(
    cost: NDArray[np.float64],
    row: int,
    row_of: NDArray[np.int64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
) -> None:
    """Give one more row a column, moving others along the cheapest path; prices stay feasible."""
    count = cost.shape[1]
    distance, previous = np.full(count, np.inf), np.full(count, -1)
    done = np.zeros(count, dtype=bool)
    current, reached, column = row, 0.0, -1
    while True:
        through = reached + cost[current] - row_price[current] - column_price
        shorter = ~done & (through < distance)
        distance[shorter], previous[shorter] = through[shorter], column
        column = int(np.argmin(np.where(done, np.inf, distance)))
        reached = float(distance[column])
        if row_of[column] < 0:
            break
        done[column] = True
        current = int(row_of[column])
    row_price[row] += reached
    visited = np.flatnonzero(done)
    row_price[row_of[visited]] += reached - distance[visited]
    column_price[visited] -= reached - distance[visited]
    while column >= 0:
        before = int(previous[column])
        row_of[column] = row if before < 0 else row_of[before]
        column = before


def read_rttm(path: Path) -> dict[str, tuple[SpeakerTurn, ...]]:
    """The turns of each recording in an RTTM file, by the recording's name; other kinds of lines are left out.

    ``SPEAKER name channel start duration <NA> <NA> speaker <NA> <NA>`` (as in that plan). Raises InputError,
    naming the line, for one that is broken.
    """
    try:
        if path.stat().st_size > _MAX_RTTM_BYTES:
            raise InputError(f"{path}: more than {_MAX_RTTM_BYTES >> 20} MB, so it is not RTTM")
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as RTTM ({getattr(error, 'strerror', None) or error})") from None
    recordings: dict[str, list[SpeakerTurn]] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if fields and fields[0] == "SPEAKER":
            name, turn = _rttm_turn(fields, f"{path}:{number}")
            recordings.setdefault(name, []).append(turn)
    return {name: tuple(turns) for name, turns in recordings.items()}


def _rttm_turn(fields: Sequence[str], source: str) -> tuple[str, SpeakerTurn]:
    if len(fields) < 8:
        raise InputError(f"{source}: {len(fields)} fields; a SPEAKER line has at least 8")
    try:
        start, length = float(fields[3]), float(fields[4])
    except ValueError:
        raise InputError(f"{source}: start and duration must be numbers of seconds") from None
    if not (0 <= start < float("inf") and 0 <= length < float("inf")):
        raise InputError(f"{source}: start and duration must be at least 0 and finite")
    return fields[1], SpeakerTurn(start, start + length, fields[7])
