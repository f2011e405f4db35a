"""Where an utterance that does not end is cut."""

from __future__ import annotations

from wav2edge.runtime.live.quietest import QuietestPlace
from wav2edge.runtime.live.vad import VAD_WINDOW, VoiceActivity


def place_of(probabilities: list[float], earliest: int = 0, windows: int = 250) -> float:
    """The place, in windows of the speech detector."""
    quiet = QuietestPlace(windows)
    for i, probability in enumerate(probabilities):
        quiet.add(VoiceActivity(i * VAD_WINDOW, (i + 1) * VAD_WINDOW, True, 0, probability))
    return quiet.after(earliest * VAD_WINDOW) / VAD_WINDOW


def test_the_middle_of_the_longest_pause() -> None:
    said = [0.9] * 10 + [0.0] * 4 + [0.9] * 10 + [0.0] * 8 + [0.9] * 10 + [0.0] * 3 + [0.9] * 5
    assert place_of(said) == 28
    assert place_of(said, earliest=30) == 43.5
    assert place_of(said, windows=18) == 43.5


def test_a_voice_that_does_not_pause_is_cut_where_it_is_weakest() -> None:
    assert place_of([0.99] * 10 + [0.7, 0.6, 0.7] + [0.99] * 20) == 11.5


def test_one_short_dip_counts_less_than_a_pause() -> None:
    assert place_of([0.99] * 5 + [0.1] + [0.99] * 5 + [0.3] * 3 + [0.99] * 5) == 12.5


def test_equal_windows_and_very_few() -> None:
    assert place_of([1.0] * 10) == 5
    assert place_of([1.0]) == 0.5
    assert place_of([1.0] * 10, earliest=20) == 9.5
