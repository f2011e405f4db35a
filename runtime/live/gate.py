"""A quiet room is not worth asking a network about: a detector that rests while nothing rises above the noise.

It rests once the detector heard no speech in faint sound for a second, and wakes at the first window that is twice as
strong as the noise was. What it slept through last is then heard first, so that the network's memory is that of a
detector that never slept; now and then it wakes by itself, because a sound may also rise slowly. While speech runs or
has just ended, it never rests, so endpoints fall where they would.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .vad import Detector


@dataclass(frozen=True)
class GateSettings:
    """Counts are in windows of 32 ms.

    rest_after: of faint sound without speech. memory: slept through and heard again at waking. longest_rest: after
    which it wakes by itself. rise: how much stronger than the noise a window must be to wake it, as a ratio of power.
    loudest: power above which sound is never faint (-45 dBFS). speechless: probability below which nobody speaks.
    """

    rest_after: int = 31
    memory: int = 31
    longest_rest: int = 250
    rise: float = 2.0
    loudest: float = 10**-4.5
    speechless: float = 0.15


class QuietGate:
    """A Detector around a Detector; says 0.0 while it rests."""

    def __init__(self, detector: Detector, settings: GateSettings | None = None) -> None:
        """Begin awake."""
        self.detector = detector
        self.settings = settings or GateSettings()
        self._quiet = 0
        self._rested = 0
        self._noise = 0.0
        self._slept: deque[NDArray[np.float32]] = deque(maxlen=self.settings.memory)

    def reset(self) -> None:
        """Forget what was heard."""
        self.detector.reset()
        self._quiet = self._rested = 0
        self._noise = 0.0
        self._slept.clear()

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in the next window [512]."""
        settings = self.settings
        power = float(np.dot(window, window)) / len(window)
        if self._quiet >= settings.rest_after:
            if power <= settings.rise * self._noise and self._rested < settings.longest_rest:
                self._rested += 1
                self._slept.append(window.copy())
                return 0.0
            while self._slept:
                self.detector(self._slept.popleft())
            self._rested = 0
        probability = self.detector(window)
        faint = power <= settings.loudest and (self._quiet == 0 or power <= settings.rise * self._noise)
        if probability < settings.speechless and faint:
            self._quiet += 1
            self._noise += (power - self._noise) / min(self._quiet, settings.rest_after)
        else:
            self._quiet, self._noise = 0, 0.0
        return probability
