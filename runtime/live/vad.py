"""Voice activity detection: probabilities of speech, window by window, made into decisions with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .bounds import LONGEST, check

VAD_WINDOW = 512
"""Samples of one window, 32 ms at 16 kHz: what Silero's network was trained on."""

_RATE = 16000


class VoiceActivityModel(Protocol):
    """Gives the probability of speech of one window after another; silero.Silero is one."""

    def __call__(self, window: NDArray[np.float32]) -> float:
        """The probability of speech in float32 [512] at 16 kHz, which continues the window before."""

    def reset(self) -> None:
        """Forget the stream so far: the next window follows a gap."""


@dataclass(frozen=True)
class VadSettings:
    """When speech begins and ends.

    The defaults are those of Silero's own VADIterator (threshold 0.5, hysteresis 0.15); no speech was lost with them on
    20 clips of unseen speakers (docs/how-to/live-settings.md).
    """

    threshold: float = 0.5
    """Probability of speech, 0 to 1, at which speech begins; default 0.5."""

    hysteresis: float = 0.15
    """Speech ends below ``threshold - hysteresis``; default 0.15."""

    onset: float = 0.064
    """Seconds of speech in a row before it counts; default 0.064, two windows, so that a click is ignored."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of bounds."""
        check(self, threshold=(0.0, 1.0), hysteresis=(0.0, 1.0), onset=(0.0, LONGEST))


@dataclass(frozen=True)
class VoiceActivity:
    """The decision on one window [start, end) of absolute samples.

    onset: the absolute sample where the present run of voice began, None while there is none.
    """

    start: int
    end: int
    speaking: bool
    onset: int | None
    probability: float


class SpeechDetector:
    """Cuts a stream of samples into windows, asks the model about each and applies hysteresis."""

    def __init__(self, model: VoiceActivityModel, settings: VadSettings | None = None) -> None:
        """Begin without speech, at sample 0."""
        self.model = model
        self.settings = settings or VadSettings()
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._next = 0
        self.speaking = False
        self._onset: int | None = None

    def reset(self, start: int) -> None:
        """Begin again at an absolute sample: the next samples do not continue the last."""
        self.model.reset()
        self._rest = np.zeros(0, np.float32)
        self._next = start
        self.speaking = False
        self._onset = None

    def push(self, samples: NDArray[np.float32]) -> list[VoiceActivity]:
        """Take float32 [samples] at 16 kHz; returns the decisions on all windows that are now complete."""
        windows, rest = self._cut(samples)
        decisions = [self._decide(window) for window in windows]
        self._rest = rest.copy()
        return decisions

    def windows(self, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The windows about which a ``push`` of these samples will ask the model."""
        return self._cut(samples)[0]

    def _cut(self, samples: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        joined = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        whole = len(joined) // VAD_WINDOW * VAD_WINDOW
        return [joined[at : at + VAD_WINDOW] for at in range(0, whole, VAD_WINDOW)], joined[whole:]

    def _decide(self, window: NDArray[np.float32]) -> VoiceActivity:
        settings = self.settings
        probability = self.model(window)
        start, self._next = self._next, self._next + VAD_WINDOW
        if probability >= settings.threshold:
            if self._onset is None:
                self._onset = start
            if self._next - self._onset >= settings.onset * _RATE:
                self.speaking = True
        elif not self.speaking or probability < settings.threshold - settings.hysteresis:
            self._onset = None
            self.speaking = False
        return VoiceActivity(start, self._next, self.speaking, self._onset, probability)
