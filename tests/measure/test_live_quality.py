"""The figures of a live session, from its events and their times."""

from __future__ import annotations

import pytest

from wav2edge.measure.live_quality import LiveQuality, TimedEvent
from wav2edge.runtime.live import events
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


def test_a_silence_after_sound_without_words_is_no_delay_of_the_final_before_it() -> None:
    found = LiveQuality()
    found.add(TimedEvent(events.Final(1, 0.3, 30.0, "turn", (word("turn", 0.5),), 0), 30.1))
    for start in (41.0, 29.0):  # the second has no Final of its own
        found.add(TimedEvent(events.Silence(start), start + 0.1))
    assert found.finalisations == []


def test_measures_of_a_session() -> None:
    found = LiveQuality()
    said = (word("turn", 0.5, 0.8), word("off", 0.9, 1.2), word("lights", 1.3, 1.8))
    timed: list[tuple[events.Event, float]] = [
        (events.Partial(1, 0.3, 1.0, "", "turn"), 1.1),
        (events.Partial(1, 0.3, 1.5, "", "turn of li"), 1.6),  # "of" is followed, and later changes
        (events.Partial(1, 0.3, 2.0, "turn", "off lights"), 2.1),
        (events.Final(1, 0.3, 2.3, "turn off lights", said, 0), 3.1),
        (events.Silence(1.9), 3.1),
    ]
    for event, at in timed:
        found.add(TimedEvent(event, at))
    assert found.first_text == [(0.3, 1.1)]
    assert found.emissions == pytest.approx([0.3, 0.9, 0.3])
    assert found.finalisations == pytest.approx([1.2])
    assert (found.changed, found.completed, found.stable_changed) == (1, 3, 0)
