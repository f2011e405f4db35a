"""Where a stream holds nothing: digital silence, of a muted source, a noise gate or a player between two recordings.

It is not the room's quiet but no sound at all. It says nothing about the speech beside it, and shifts the statistics by
which a model normalises an utterance; so utterances reach up to it and not into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP = 2.0**-16  # half a step of 16-bit sound


class Stillness:
    """The stretches of digital silence in a stream, as absolute samples [start, end)."""

    def __init__(self, shortest: int) -> None:
        """shortest: samples in a row below half a step of 16-bit sound that count as a stretch."""
        self.shortest = shortest
        self._runs: list[tuple[int, int]] = []
        self._since: int | None = None  # where the run began that reaches the end of what was heard
        self._end = 0

    def reset(self) -> None:
        """Forget what was heard: the next samples follow a gap."""
        self._runs.clear()
        self._since = None

    def hear(self, samples: NDArray[np.float32], start: int) -> None:
        """Take the next samples; a block is to be shorter than a stretch."""
        self._end = start + len(samples)
        loud = np.flatnonzero(np.abs(samples) >= _STEP)
        if len(loud) == 0:
            self._since = start if self._since is None else self._since
            return
        first = start + int(loud[0])
        since = start if self._since is None else self._since
        if first - since >= self.shortest:
            self._runs.append((since, first))
        last = start + int(loud[-1]) + 1
        self._since = last if last < self._end else None

    def forget(self, before: int) -> None:
        """Give up the stretches that end in front of an index."""
        self._runs = [run for run in self._runs if run[1] >= before]

    def last_end(self, before: int) -> int | None:
        """Where the last stretch ends that is over at ``before``; None: there is none."""
        return max((end for _, end in self._runs if end <= before), default=None)

    def first_start(self, behind: int) -> int | None:
        """Where the first stretch begins that reaches behind an index; None: there is none yet."""
        for start, end in self._runs:
            if end > behind:
                return start
        if self._since is not None and self._end > behind and self._end - self._since >= self.shortest:
            return self._since
        return None
