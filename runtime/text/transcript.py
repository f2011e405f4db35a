"""Transcripts: text, words and segments. Times are in seconds from the start of the recording, in one of a part too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .formats import CaptionLayout
    from .formats.json import TranscriptJson


@dataclass(frozen=True)
class Word:
    """One word."""

    text: str
    """The word as the model spells it."""
    start: float
    """When it begins, s."""
    end: float
    """When it ends, s."""
    confidence: float
    """The geometric mean of its labels' probabilities, in (0, 1]."""


@dataclass(frozen=True)
class Segment:
    """Words between two pauses."""

    text: str
    """Its words, joined."""
    start: float
    """When its first word begins, s."""
    end: float
    """When its last word ends, s."""
    words: tuple[Word, ...]
    """Its words, in order."""


@dataclass(frozen=True)
class Transcript:
    """The text of one recording, with times, and as subtitles.

    >>> import wav2edge
    >>> word = wav2edge.Word("hello", 0.5, 0.9, 0.98)
    >>> segment = wav2edge.Segment("hello", 0.5, 0.9, (word,))
    >>> print(wav2edge.Transcript("hello", 2.0, (word,), (segment,)).to_srt())
    1
    00:00:00,500 --> 00:00:01,500
    hello
    <BLANKLINE>
    """

    text: str
    """All words, joined."""
    seconds: float
    """The length of the recording, or of the part of it, s."""
    words: tuple[Word, ...] = ()
    """Its words, in order."""
    segments: tuple[Segment, ...] = ()
    """Its words between pauses."""
    language: str | None = None
    """The model's language (BCP 47), where its bundle says it."""

    complete: bool = True
    """Whether all of the recording was decoded: False for one that was cut short or is damaged."""

    channel: str | int = "mix"
    """Which channel of the recording it is (``audio.channels.Channel``); ``mix``: the average of all."""

    warnings: tuple[str, ...] = ()
    """What is missing of the recording, and other doubts about it, such as channels that were averaged."""

    offset: float | None = None
    """When the part begins that it is of, s; None for one of the whole recording."""

    @property
    def end(self) -> float:
        """When the recording, or the part of it, ends, s."""
        return (self.offset or 0.0) + self.seconds

    def document(self, name: str = "") -> TranscriptJson:
        """Return everything as JSON values, with the fields of whisper's .json; name: the recording's."""
        from .formats.json import document

        return document(self, name)

    def to_json(self, name: str = "") -> str:
        """Return everything as one JSON object; name: the recording's."""
        return self._as("json", name)

    def to_srt(self, name: str = "", layout: CaptionLayout | None = None) -> str:
        """Return subtitles as SubRip; layout: characters in a line, lines in a cue and the like."""
        return self._as("srt", name, layout)

    def to_vtt(self, name: str = "", layout: CaptionLayout | None = None) -> str:
        """Return subtitles as WebVTT; layout: characters in a line, lines in a cue and the like."""
        return self._as("vtt", name, layout)

    def to_tsv(self, name: str = "") -> str:
        """Return the segments as a table with tabs: start and end in milliseconds, and the text."""
        return self._as("tsv", name)

    def _as(self, form: str, name: str, layout: CaptionLayout | None = None) -> str:
        from . import formats

        return formats.get(form).render(self, name, layout or formats.CaptionLayout())
