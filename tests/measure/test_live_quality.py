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


@pytest.mark.parametrize(
    ("shown", "changed", "completed"),
    [(("a b c", "a b", "a x"), 1, 2), (("a b c", "a b", "a b c", "a b"), 0, 2), (("a b", "a c d"), 0, 2)],
)
def test_a_word_that_was_followed_is_counted_once_although_later_text_is_shorter(
    shown: tuple[str, ...], changed: int, completed: int
) -> None:
    found = LiveQuality()
    for text in shown:
        found.add(TimedEvent(events.Partial(1, 0.0, 1.0, "", text), 1.1))
    words = tuple(word(text, 0.2) for text in shown[-1].split())
    found.add(TimedEvent(events.Final(1, 0.0, 1.0, shown[-1], words, 0), 1.2))
    assert (found.changed, found.completed) == (changed, completed)


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
