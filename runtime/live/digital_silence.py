"""Find digital silence in a stream: a muted source, a noise gate, a player between two recordings.

Digital silence is not the quiet of a room but no signal at all. It says nothing about the speech beside it and shifts
the statistics by which a model normalises an utterance: with 1.0 s of zeros before and 0.7 s after the voice, the WER
of short commands went from 27 to 32 % (docs/how-to/live-settings.md). So utterances reach up to it and not into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP = 2.0**-16  # half a step of 16-bit sound


class DigitalSilence:
    """The stretches of digital silence in a stream, as absolute samples [start, end)."""

    def __init__(self, shortest: int) -> None:
        """shortest: samples in a row below half a step of 16-bit sound that count as a stretch."""
        self.shortest = shortest
        self._stretches: list[tuple[int, int]] = []
        self._since: int | None = None  # where the stretch began that reaches the last sample added
        self._end = 0

    def reset(self) -> None:
        """Forget everything: the next samples follow a gap."""
        self._stretches.clear()
        self._since = None

    def add(self, samples: NDArray[np.float32], start: int) -> None:
        """Take the next samples; a block must be shorter than a stretch."""
        self._end = start + len(samples)
        loud = np.flatnonzero(np.abs(samples) >= _STEP)
        if len(loud) == 0:
            self._since = start if self._since is None else self._since
            return
        first = start + int(loud[0])
        since = start if self._since is None else self._since
        if first - since >= self.shortest:
            self._stretches.append((since, first))
        last = start + int(loud[-1]) + 1
        self._since = last if last < self._end else None

    def drop(self, before: int) -> None:
        """Drop the stretches that end before an index."""
        self._stretches = [stretch for stretch in self._stretches if stretch[1] >= before]

    def last_end(self, before: int) -> int | None:
        """Where the last stretch ends that is over at ``before``; None without one."""
        return max((end for _, end in self._stretches if end <= before), default=None)

    def first_start(self, after: int) -> int | None:
        """Where the first stretch begins that reaches past an index; None as long as there is none."""
        for start, end in self._stretches:
            if end > after:
                return start
        if self._since is not None and self._end > after and self._end - self._since >= self.shortest:
            return self._since
        return None
