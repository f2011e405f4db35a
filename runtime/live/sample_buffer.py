"""The last samples of a stream, addressed by their absolute index; older ones are dropped on request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class SampleBuffer:
    """Samples [start, end) in one array that moves its content to the front before it grows."""

    def __init__(self, start: int = 0) -> None:
        """An empty buffer whose next sample has the absolute index ``start``."""
        self.start = start
        self.end = start
        self._array: NDArray[np.float32] = np.zeros(16000, np.float32)
        self._first = 0

    @property
    def capacity(self) -> int:
        """How many samples the array has room for."""
        return len(self._array)

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add samples [samples] at the end."""
        held, count = self.end - self.start, len(samples)
        if self._first + held + count > len(self._array):
            kept = self._array[self._first : self._first + held]
            # Growing only when more than half would be in use keeps moves rare and the size bounded.
            array = np.zeros(max(len(self._array), 2 * (held + count)), np.float32)
            array[:held] = kept
            self._array, self._first = array, 0
        self._array[self._first + held : self._first + held + count] = samples
        self.end += count

    def read(self, start: int, end: int) -> NDArray[np.float32]:
        """A copy of samples [start, end); samples already dropped or not yet added are left out."""
        low, high = max(start, self.start), min(end, self.end)
        at = self._first + low - self.start
        samples: NDArray[np.float32] = self._array[at : at + max(0, high - low)].copy()
        return samples

    def drop(self, before: int) -> None:
        """Drop the samples before an absolute index."""
        step = min(max(before, self.start), self.end) - self.start
        self._first += step
        self.start += step
