"""Events fit their published schema and come back from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast, get_args, get_type_hints

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2edge.runtime.errors import InputError
from wav2edge.runtime.live import events
from wav2edge.runtime.live.documents import EventJson
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


EXAMPLES: list[events.Event] = [
    events.Partial(1, 0.5, 1.5, "turn the", "light"),
    events.Final(
        1, 0.5, 2.5, "turn the light", (word("turn", 0.6), word("the", 0.9), word("light", 1.2)), 1, "silence"
    ),
    events.Label("hey mirror", 1.0, 3.0, 0.97),
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


def test_the_typed_forms_are_the_schema() -> None:
    definitions = cast("dict[str, dict[str, Iterable[str]]]", events.schema()["$defs"])
    for form in get_args(EventJson):
        hints = get_type_hints(form)
        kind = get_args(hints["event"])[0]
        definition = definitions[kind]
        assert set(definition["properties"]) == set(hints) == set(definition["required"]), kind


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(EXAMPLES), st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_event_is_one_line(event: events.Event, data: st.DataObject) -> None:
    values = json.loads(events.to_line(event))
    name = data.draw(st.sampled_from([*values, "new"]))
    if data.draw(st.booleans()):
        values[name] = data.draw(VALUES)
    else:
        values.pop(name, None)
    try:
        assert isinstance(events.from_json(values), type(event))
    except InputError as error:
        assert "\n" not in str(error)
    with pytest.raises(InputError):
        events.from_json(data.draw(VALUES))
