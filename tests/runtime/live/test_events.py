"""Events fit their published schema and come back from JSON."""

from __future__ import annotations

import json

import jsonschema
import pytest

from wav2edge.runtime.live import events
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


EXAMPLES: list[events.Event] = [
    events.Partial(1, 0.5, 1.5, "turn the", "light"),
    events.Final(
        1, 0.5, 2.5, "turn the light", (word("turn", 0.6), word("the", 0.9), word("light", 1.2)), 1, "silence"
    ),
    events.Silence(2.1),
    events.SourceLost(3.0, "unplugged", "the stream ended"),
    events.SourceBack(8.0, 5.0),
    events.Dropped(9.0, 0.5),
    events.Stats(10.0, 0.1, 0.02, 0.05, -42.0, 0.5),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: str(event.kind))
def test_every_event_fits_the_schema_and_comes_back(event: events.Event) -> None:
    line = events.to_line(event)
    assert "\n" not in line
    jsonschema.validate(json.loads(line), events.schema())
    assert events.from_json({**json.loads(line), "later": "unknown"}) == event


def test_the_schema_refuses_what_is_no_event() -> None:
    jsonschema.Draft202012Validator.check_schema(events.schema())
    for wrong in ({"event": "party"}, {"event": "silence"}, {"event": "dropped", "time": 1.0, "seconds": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, events.schema())
    with pytest.raises(ValueError, match="party"):
        events.from_json({"event": "party"})
