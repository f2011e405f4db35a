"""Endpoint rules, and where an utterance that does not end is cut."""

from __future__ import annotations

import pytest

from wav2edge.runtime.live.endpoint import EndpointRules, best_cut
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


@pytest.mark.parametrize(
    ("silence", "blank", "length", "text", "reason"),
    [
        (1.3, 0.0, 5.0, True, "silence"),
        (1.3, 0.0, 5.0, False, None),
        (2.5, 0.0, 5.0, False, "silence"),
        (0.0, 2.5, 5.0, True, "blank"),
        (0.0, 0.0, 20.0, True, "length"),
        (0.0, 1.3, 19.0, True, None),
    ],
)
def test_endpoint_rules(silence: float, blank: float, length: float, text: bool, reason: str | None) -> None:
    assert EndpointRules().ended(silence, blank, length, text) == reason


def test_the_best_cut_is_the_longest_pause() -> None:
    said = [word("a", 10.0, 11.0), word("b", 11.2, 13.0), word("c", 14.0, 15.0), word("d", 15.1, 19.5)]
    assert best_cut(said, 11.0, 19.6) == 13.5
    assert best_cut([], 11.0, 19.6) == 19.6
    assert best_cut([word("endless", 1.0, 30.0)], 11.0, 19.6) in (11.0, 19.6)
