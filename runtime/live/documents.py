"""The JSON form of events, field by field; data/events.schema.json says the same to other languages."""

from __future__ import annotations

from typing import Literal, TypedDict

EndReason = Literal["silence", "blank", "length", "gap", "end"]
"""What ended an utterance: silence, a voice without decoded text, its length, lost sound, or the end of the stream."""

LossCause = Literal["unplugged", "stalled", "muted"]
"""Why a source gives no usable sound: the stream ended, no callback came (suspended), or it gave only zeros."""


class EventWordJson(TypedDict):
    """A word; times in s, confidence from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


class PartialJson(TypedDict):
    """``events.Partial``."""

    event: Literal["partial"]
    utterance: int
    start: float
    end: float
    stable: str
    tentative: str
    gap: str


class FinalJson(TypedDict):
    """``events.Final``."""

    event: Literal["final"]
    utterance: int
    start: float
    end: float
    text: str
    words: list[EventWordJson]
    revised: int
    reason: EndReason


class LabelJson(TypedDict):
    """``events.Label``."""

    event: Literal["label"]
    label: str
    start: float
    end: float
    score: float


class SilenceJson(TypedDict):
    """``events.Silence``."""

    event: Literal["silence"]
    start: float


class SourceLostJson(TypedDict):
    """``events.SourceLost``."""

    event: Literal["source_lost"]
    time: float
    cause: LossCause
    message: str


class SourceBackJson(TypedDict):
    """``events.SourceBack``."""

    event: Literal["source_back"]
    time: float
    away: float


class DroppedJson(TypedDict):
    """``events.Dropped``."""

    event: Literal["dropped"]
    time: float
    seconds: float


class StatsJson(TypedDict):
    """``events.Stats``."""

    event: Literal["stats"]
    time: float
    lag: float
    hop_time: float
    rtf: float
    level: float
    dropped: float


EventJson = (
    PartialJson | FinalJson | LabelJson | SilenceJson | SourceLostJson | SourceBackJson | DroppedJson | StatsJson
)
"""One line of events."""
