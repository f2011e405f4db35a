"""The events of a live session, and their form on the wire: JSON Lines with a published schema.

Times are in seconds from the first sample received; a second whose sound was lost still counts. An utterance's events
are Partials, then one Final; after its Final it never appears again. A classifier's events are Labels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import ClassVar, cast

from .. import documents
from ..errors import InputError
from ..text.transcript import Word
from .documents import (
    DroppedJson,
    EndReason,
    EventJson,
    FinalJson,
    LabelJson,
    LossCause,
    PartialJson,
    SilenceJson,
    SourceBackJson,
    SourceLostJson,
    StatsJson,
)

SCHEMA_FILE = "events.schema.json"


@dataclass(frozen=True)
class Partial:
    """The text of an utterance so far.

    start, end: the utterance's first sample and the last one decoded, s. stable: text that later Partials of the
    utterance repeat unchanged. tentative: text after it that may change. gap: what is between the two where neither is
    empty: a space, or nothing where the model writes words without spaces.
    """

    kind: ClassVar[str] = "partial"
    utterance: int
    start: float
    end: float
    stable: str
    tentative: str
    gap: str = " "

    @property
    def text(self) -> str:
        """Stable and tentative text together."""
        return self.gap.join(part for part in (self.stable, self.tentative) if part)


@dataclass(frozen=True)
class Final:
    """An utterance that has ended, decoded in one pass over all its samples: what Transcriber gives for them.

    start, end: its samples, s. words: with times in the stream. revised: how many words that Partials had called stable
    it changed or dropped. reason: what ended it (see EndReason).
    """

    kind: ClassVar[str] = "final"
    utterance: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    revised: int = 0
    reason: EndReason = "silence"


@dataclass(frozen=True)
class Label:
    """A label that a classifier gave the sound, such as a keyword; sent once, as soon as it is confirmed.

    start, end: the stretch that all windows which gave it share, s. score: its highest probability in them, 0 to 1.
    """

    kind: ClassVar[str] = "label"
    label: str
    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Silence:
    """No speech since ``start``; sent once when an utterance was followed by silence."""

    kind: ClassVar[str] = "silence"
    start: float


@dataclass(frozen=True)
class SourceLost:
    """No usable sound since ``time``; cause: why (see LossCause). message: the same in words, with the device."""

    kind: ClassVar[str] = "source_lost"
    time: float
    cause: LossCause
    message: str


@dataclass(frozen=True)
class SourceBack:
    """Sound again since ``time``, after ``away`` seconds."""

    kind: ClassVar[str] = "source_back"
    time: float
    away: float


@dataclass(frozen=True)
class Dropped:
    """``seconds`` of sound before ``time`` were lost: they were not processed in time."""

    kind: ClassVar[str] = "dropped"
    time: float
    seconds: float


@dataclass(frozen=True)
class Stats:
    """How the session keeps up, about once a second of sound.

    time: sound received so far, s. lag: seconds between a sound and its decoding now. hop_time: seconds that the last
    window took to compute. rtf: computing time over sound since the last Stats. level: loudness of the sound since
    then, dBFS. dropped: seconds lost so far.
    """

    kind: ClassVar[str] = "stats"
    time: float
    lag: float
    hop_time: float
    rtf: float
    level: float
    dropped: float


Event = Partial | Final | Label | Silence | SourceLost | SourceBack | Dropped | Stats

_FORMS: Mapping[str, tuple[type[Event], type]] = {
    Partial.kind: (Partial, PartialJson),
    Final.kind: (Final, FinalJson),
    Label.kind: (Label, LabelJson),
    Silence.kind: (Silence, SilenceJson),
    SourceLost.kind: (SourceLost, SourceLostJson),
    SourceBack.kind: (SourceBack, SourceBackJson),
    Dropped.kind: (Dropped, DroppedJson),
    Stats.kind: (Stats, StatsJson),
}
"""For each kind of event its class and its JSON form."""


def to_json(event: Event) -> EventJson:
    """An event as plain JSON values; ``event`` names its kind."""
    return cast("EventJson", {"event": event.kind, **dataclasses.asdict(event)})


def to_line(event: Event) -> str:
    """An event as one line of JSON, without the line's end."""
    return json.dumps(to_json(event), ensure_ascii=False)


def from_json(values: object) -> Event:
    """The event that ``to_json`` wrote; unknown keys, of newer versions, are ignored.

    Raises InputError for an unknown kind, and for a field that is missing or of another type.
    """
    kind = values.get("event") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in _FORMS:
        raise InputError(f"no event is named {kind!r}; there are {', '.join(_FORMS)}")
    made, form = _FORMS[kind]
    fields: dict[str, object] = {**documents.check(values, form, f"the {kind} event is damaged")}
    if made is Final:
        words = cast("FinalJson", fields)["words"]
        fields["words"] = tuple(documents.build(Word, {**word}) for word in words)
    return documents.build(made, fields)


@lru_cache(maxsize=1)
def schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of one line."""
    text = (files("wav2edge.runtime.live") / "data" / SCHEMA_FILE).read_text(encoding="utf-8")
    return cast("dict[str, object]", json.loads(text))
