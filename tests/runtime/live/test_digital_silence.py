"""Stretches of digital silence, found across blocks."""

from __future__ import annotations

import numpy as np
import pytest

from wav2edge.runtime.live.digital_silence import DigitalSilence


@pytest.mark.parametrize("size", [1, 7, 50])
def test_stretches_are_found_whatever_the_blocks(size: int) -> None:
    sound = np.full(1000, 0.01, np.float32)
    sound[100:300] = 0
    sound[400:450] = 0  # too short
    sound[900:] = 0
    silence = DigitalSilence(shortest=100)
    for at in range(0, len(sound), size):
        silence.add(sound[at : at + size], 5000 + at)
    assert silence.last_end(5350) == 5300
    assert silence.last_end(5200) is None
    assert silence.first_start(5000) == 5100
    assert silence.first_start(5300) == 5900, "the stretch that is still running counts"
    silence.drop(5301)
    assert silence.last_end(6000) is None
    silence.reset()
    assert silence.first_start(0) is None
