"""The samples of a stream that are still needed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wav2edge.runtime.live.sample_buffer import SampleBuffer


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 40_000)), max_size=12))
def test_the_buffer_keeps_what_was_not_dropped(steps: list[tuple[int, int]]) -> None:
    buffer, everything = SampleBuffer(1000), np.zeros(0, np.float32)
    for count, drop in steps:
        new = np.random.default_rng(count).standard_normal(count).astype(np.float32)
        buffer.append(new)
        everything = np.concatenate((everything, new))
        buffer.drop(buffer.start + drop)
        assert buffer.end == 1000 + len(everything)
        np.testing.assert_array_equal(buffer.read(0, buffer.end + 5), everything[buffer.start - 1000 :])
