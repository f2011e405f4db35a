"""Skip the VAD network while the sound stays at the noise floor: an idle room then costs 1.2 % of one core.

The gate closes after a second of faint sound in which the network found no speech, and opens at the first window that
is twice as strong as the noise. The windows skipped last are then run first, so that the network's recurrent state is
that of a detector that never paused. It also opens by itself at times, because a sound may rise slowly. During speech,
and just after it, it stays open, so endpoints fall where they would without it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .vad import VoiceActivityModel


@dataclass(frozen=True)
class EnergyGateSettings:
    """When the gate closes and opens; counts are in windows of 32 ms.

    With these defaults a room with noise at -60 dBFS costs 1.24 % of one core (benchmarks/live_idle.py), and the gate
    finds the same speech as the ungated network (tests/runtime/live/test_energy_gate.py). The values are round numbers
    chosen for that, not the optimum of a sweep.
    """

    close_after: int = 31
    """Windows of faint sound without speech after which the gate closes; default 31 (1 s)."""

    replayed: int = 31
    """Skipped windows run first when the gate opens, so that the recurrent state is warm; default 31 (1 s)."""

    longest_closed: int = 250
    """Windows after which the gate opens by itself; default 250 (8 s)."""

    rise: float = 2.0
    """Ratio of a window's power to the noise floor that opens the gate; default 2 (3 dB)."""

    loudest: float = 10**-4.5
    """Mean power above which sound is never faint; default 10^-4.5 (-45 dBFS)."""

    speechless: float = 0.15
    """Probability of speech below which a window counts as free of speech; default 0.15."""


class EnergyGate:
    """A VoiceActivityModel around another; returns 0.0 for the windows it skips."""

    def __init__(self, model: VoiceActivityModel, settings: EnergyGateSettings | None = None) -> None:
        """Begin open."""
        self.model = model
        self.settings = settings or EnergyGateSettings()
        self._quiet = 0
        self._closed = 0
        self._noise = 0.0
        self._power = 0.0
        self._skipped: deque[NDArray[np.float32]] = deque(maxlen=self.settings.replayed)

    def reset(self) -> None:
        """Forget the stream so far."""
        self.model.reset()
        self._quiet = self._closed = 0
        self._noise = 0.0
        self._skipped.clear()

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in the next window [512]."""
        probability: float | None = None
        for wanted in self.wanted(window):
            probability = self.model(wanted)
        return self.taken(probability)

    def wanted(self, window: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The windows that the model is to be run on now, in order; none where this one is skipped.

        ``taken`` must follow.
        """
        settings = self.settings
        self._power = power = float(np.dot(window, window)) / len(window)
        if self._quiet < settings.close_after:
            return [window]
        if power <= settings.rise * self._noise and self._closed < settings.longest_closed:
            self._closed += 1
            self._skipped.append(window.copy())
            return []
        replayed = [*self._skipped, window]
        self._skipped.clear()
        self._closed = 0
        return replayed

    def taken(self, probability: float | None) -> float:
        """The answer for a window, from the model's for the last one that was ``wanted`` (None: there was none)."""
        if probability is None:
            return 0.0
        settings, power = self.settings, self._power
        faint = power <= settings.loudest and (self._quiet == 0 or power <= settings.rise * self._noise)
        if probability < settings.speechless and faint:
            self._quiet += 1
            self._noise += (power - self._noise) / min(self._quiet, settings.close_after)
        else:
            self._quiet, self._noise = 0, 0.0
        return probability
