"""One JSON document with the fields of whisper's .json and of OpenAI's ``verbose_json``.

Fields that only Whisper has (seek, tokens, temperature, compression_ratio, no_speech_prob) are left out.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Literal, TypedDict

from ..transcript import Segment, Transcript, Word
from . import CaptionLayout, printable

if TYPE_CHECKING:  # Python 3.11; it is never evaluated
    from typing_extensions import NotRequired

SUFFIX = ".json"

_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class WordJson(TypedDict):
    """A word: times in seconds, probability in (0, 1]."""

    word: str
    start: float
    end: float
    probability: float


class SegmentJson(TypedDict):
    """Words between two pauses; avg_logprob is the mean of the logarithms of their probabilities."""

    id: int
    start: float
    end: float
    text: str
    avg_logprob: float
    words: list[WordJson]


class TranscriptJson(TypedDict):
    """A transcript; duration in seconds; complete, warnings, channel and offset as in ``Transcript``."""

    task: Literal["transcribe"]
    file: str
    language: str | None
    duration: float
    complete: bool
    warnings: list[str]
    text: str
    segments: list[SegmentJson]
    words: list[WordJson]
    channel: NotRequired[str | int]
    """Left out for the average of all channels."""
    offset: NotRequired[float]
    """Left out for a whole recording. Times are from the recording's start, not from here."""


def render(transcript: Transcript, name: str, layout: CaptionLayout) -> str:
    """The document, indented."""
    return dumped(document(transcript, name), indent=2) + "\n"


def dumped(value: object, indent: int | None = None) -> str:
    """JSON in Unicode; control characters, and characters that cannot be encoded, are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def document(transcript: Transcript, name: str) -> TranscriptJson:
    """The transcript as plain JSON values."""
    values: TranscriptJson = {
        "task": "transcribe",
        "file": printable(name),
        "language": transcript.language,
        "duration": round(transcript.seconds, 3),
        "complete": transcript.complete,
        "warnings": list(transcript.warnings),
        "text": transcript.text,
        "segments": [_segment(number, segment) for number, segment in enumerate(transcript.segments)],
        "words": [_word(word) for word in transcript.words],
    }
    if transcript.channel != "mix":
        values["channel"] = transcript.channel
    if transcript.offset is not None:
        values["offset"] = transcript.offset
    return values


def _segment(number: int, segment: Segment) -> SegmentJson:
    logs = [math.log(max(word.confidence, 1e-6)) for word in segment.words]
    return {
        "id": number,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "avg_logprob": round(sum(logs) / len(logs), 4) if logs else 0.0,
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> WordJson:
    return {"word": word.text, "start": word.start, "end": word.end, "probability": word.confidence}
