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
    """The text of one recording."""

    text: str
    """Everything that was said."""

    seconds: float
    """The recording's length."""

    words: tuple[Word, ...] = ()
    """The words with their times, in order."""

    segments: tuple[Segment, ...] = ()
    """The same words between pauses."""

    language: str | None = None
    """The model's language (BCP 47), where its bundle says it."""

    complete: bool = True
    """Whether all of the recording was decoded: False for one that was cut short or is damaged."""

    channel: str | int = "mix"
    """Which channel of the recording it is (``audio.channels.Channel``); ``mix``: the average of all."""

    warnings: tuple[str, ...] = ()
    """What a reader of the transcript should know of the recording: what is missing, which channels were averaged."""
