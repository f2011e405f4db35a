"""What was said: text, words and segments. Times are in seconds from the start of the recording."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word; confidence is the geometric mean of its labels' probabilities, in (0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """Words between two pauses."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Transcript:
    """The text of one recording; ``seconds`` is the recording's length."""

    text: str
    seconds: float
    words: tuple[Word, ...] = ()
    segments: tuple[Segment, ...] = ()
    language: str | None = None
