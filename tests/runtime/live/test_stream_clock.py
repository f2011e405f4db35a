"""Clock arithmetic: lost sound is found, late sound and clocks that run off are not loss."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2edge.runtime.live.stream_clock import LossWatch, Timeline


def test_sound_lost_by_the_system_is_found_and_late_sound_is_not() -> None:
    watch = LossWatch(16000)
    losses, received, stamp = [], 0, 100.0
    for number in range(2000):
        stamp += 0.05
        received += 800
        late = 1.5 if 400 <= number < 420 else 0.0  # a backlog that arrives late loses nothing
        if number == 1000:
            stamp += 3.0  # the process stood still and the system's buffer ran over
        losses.append(watch.update(stamp + late, received))
    assert sum(losses) == pytest.approx(3.0, abs=0.05)
    assert sum(value > 0 for value in losses) == 1


@settings(max_examples=10, deadline=None)
@given(st.floats(-300e-6, 300e-6))
def test_a_clock_that_runs_off_loses_nothing(skew: float) -> None:
    watch = LossWatch(48000)
    for number in range(1, 2000):
        assert watch.update(number * 0.5 * (1 + skew), number * 24000) == 0.0


def test_the_timeline_follows_the_clock_between_openings() -> None:
    timeline = Timeline()
    assert timeline.begin(stamp=10.05, frames=800, rate=16000) == 0
    timeline.next = 16000
    assert timeline.begin(stamp=15.05, frames=2205, rate=44100) == 80_000
    timeline.skip(0.5)
    assert timeline.next == 88_000
    assert timeline.at(20.0) == 160_000
