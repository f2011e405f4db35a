"""A part of a recording, as rows of a manifest name it by ``offset`` and ``duration``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import AudioError
from .tracks import BREAKS_OFF, Piece, Problems, Track

ROUNDED = 1.0
"""Seconds by which a length may differ from that of the recording that it describes: many are rounded."""


@dataclass(frozen=True)
class RecordingPart:
    """A part of a recording, or all of it.

    With ``offset`` it is exactly the part that begins there. Without, ``seconds`` describes the recording: one that is
    up to ``ROUNDED`` longer is read to its end, of a longer one the beginning, and a shorter one was cut short.
    """

    path: Path
    """The recording."""
    offset: float | None = None
    """Where the part begins in the recording, s."""
    seconds: float | None = None
    """Its length, s; None: to the recording's end."""

    @property
    def place(self) -> str:
        """An exact part as a media fragment (W3C Media Fragments URI), such as ``#t=12.5,20``; else nothing."""
        if self.offset is None:
            return ""
        return f"#t={self.offset:.10g}" + ("" if self.seconds is None else f",{self.offset + self.seconds:.10g}")

    @property
    def name(self) -> str:
        """The name of its file, with its place."""
        return f"{self.path.name}{self.place}"

    def __str__(self) -> str:
        return f"{self.path}{self.place}"


def checked(part: RecordingPart) -> RecordingPart:
    """The part; raises AudioError where its numbers are of none."""
    if not (0 <= (part.offset or 0) < math.inf and (part.seconds is None or 0 < part.seconds < math.inf)):
        raise AudioError(f"{part.path}: no part of it: offset {part.offset}, seconds {part.seconds}")
    return part


def track_of(track: Track, part: RecordingPart) -> Track:
    """A track with the sound of a part of a recording's track; its pieces raise AudioError beyond the end."""
    if part.offset is None and part.seconds is None:
        return track
    seconds = None if track.seconds is None else max(0.0, track.seconds - (part.offset or 0.0))
    if part.seconds is not None and seconds is not None:
        rounded = part.offset is None and seconds <= part.seconds + ROUNDED
        seconds = seconds if rounded else min(seconds, part.seconds)
    return replace(track, seconds=seconds, pieces=lambda problems: _pieces(track, part, problems), pieces_from=None)


def dropped(pieces: Iterator[Piece], start: float) -> Iterator[Piece]:
    """Pieces from a second on, where all are decoded."""
    at = 0.0
    for rate, samples in pieces:
        first = max(0, round((start - at) * rate))
        at += len(samples) / rate
        if first < len(samples):
            yield Piece(rate, samples[first:])


def _pieces(track: Track, part: RecordingPart, problems: Problems) -> Iterator[Piece]:
    start = part.offset or 0.0
    end = math.inf if part.seconds is None else start + part.seconds
    at = start
    beyond: list[Piece] = []  # what follows the end, where that may be rounded
    for rate, samples in _from(track, start, problems):
        inside = len(samples) if end == math.inf else min(len(samples), max(0, round((end - at) * rate)))
        at += len(samples) / rate
        if inside:
            yield Piece(rate, samples[:inside])
        if inside < len(samples):
            beyond.append(Piece(rate, samples[inside:]))
        if at >= (end if part.offset is not None else end + ROUNDED):
            return
    yield from beyond
    _check_end(part, at, problems)


def _from(track: Track, start: float, problems: Problems) -> Iterator[Piece]:
    if start > 0 and track.pieces_from is not None:
        return track.pieces_from(problems, start)
    return dropped(track.pieces(problems), start) if start > 0 else track.pieces(problems)


def _check_end(part: RecordingPart, at: float, problems: Problems) -> None:
    """Judge where a recording ended: at second ``at``, or before the part, which begins at ``at`` then."""
    missing = 0.0 if part.seconds is None else (part.offset or 0.0) + part.seconds - at
    if part.offset is None:
        if missing > ROUNDED:
            problems.lost(
                f"it ends after {at:.1f} s and should have {part.seconds:g} s; copy it again, or correct its `duration`"
            )
    elif problems.complete and at <= part.offset:
        raise AudioError(f"{part.path}: it ends before {part.offset:g} s, where the part begins; correct `offset`")
    elif problems.complete and missing > BREAKS_OFF:
        raise AudioError(
            f"{part.path}: it ends after {at:.1f} s, the part from {part.offset:g} s at {at + missing:g} s; "
            "correct `offset` and `duration`"
        )
