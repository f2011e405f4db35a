"""From probabilities of speech to decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.live.vad import VAD_WINDOW, SpeechDetector, VadSettings


def test_hysteresis_holds_through_a_dip_and_ignores_a_click() -> None:
    script = [0.0, 0.9, 0.1, 0.0, 0.9, 0.9, 0.4, 0.9, 0.3, 0.9]

    class Scripted:
        def __init__(self) -> None:
            self.left = list(script)

        def __call__(self, window: NDArray[np.float32]) -> float:
            return self.left.pop(0)

        def reset(self) -> None: ...

    detector = SpeechDetector(Scripted(), VadSettings(onset=0.06))
    detector.reset(5000)
    decisions = detector.push(np.zeros(VAD_WINDOW * len(script), np.float32))
    assert [decision.speaking for decision in decisions] == [False] * 5 + [True] * 3 + [False] * 2
    assert decisions[5].onset == 5000 + 4 * VAD_WINDOW
