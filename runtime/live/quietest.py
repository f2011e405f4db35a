"""Where speech that does not pause is least like speech: the place to cut an utterance that is too long."""

from __future__ import annotations

from collections import deque

import numpy as np

from .vad import VoiceActivity

_TOGETHER = 3
"""Windows of the speech detector (96 ms) whose probabilities are averaged. On 18 recordings of 100 s, joined from dev
sentences without the pauses between them, `listen --measure` gave a WER of 59.9 % with 3 and of 61.3 % with 5."""

_ALIKE = 0.01
"""Averages that differ by less are taken for equal; a round number, not measured."""


class QuietestPlace:
    """The speech detector's last probabilities, and the place of the lowest.

    It depends on the samples alone: hypotheses come when the machine has time for them, so cuts between their words
    would differ from run to run. Such cuts gave 59.7 % on the recordings of ``_TOGETHER``.
    """

    def __init__(self, windows: int) -> None:
        """windows: how many are remembered."""
        self._windows: deque[VoiceActivity] = deque(maxlen=windows)

    def reset(self) -> None:
        """Forget everything: the next window follows a gap."""
        self._windows.clear()

    def add(self, activity: VoiceActivity) -> None:
        """Take the decision on the next window."""
        self._windows.append(activity)

    def after(self, earliest: int) -> int:
        """The middle of the longest of the quietest stretches after an absolute sample; the last one of equal ones."""
        windows = [window for window in self._windows if window.start >= earliest] or list(self._windows)[-1:]
        together = min(_TOGETHER, len(windows))
        means = np.convolve([window.probability for window in windows], np.ones(together) / together, "valid")
        low = np.concatenate(([False], means < means.min() + _ALIKE, [False]))
        begins, ends = (np.flatnonzero(change) for change in (~low[:-1] & low[1:], low[:-1] & ~low[1:]))
        longest = max(range(len(begins)), key=lambda i: (ends[i] - begins[i], i))
        first, last = int(begins[longest]), int(ends[longest]) - 1 + together - 1
        return (windows[first].start + windows[last].end) // 2
