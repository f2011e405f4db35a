"""The last samples of a stream, addressed by their absolute index; what nobody needs any more is forgotten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Tape:
    """Samples [start, end) in one array that moves its content down before it grows."""

    def __init__(self, start: int = 0) -> None:
        """An empty tape whose next sample has the index ``start``."""
        self.start = start
        self.end = start
        self._array: NDArray[np.float32] = np.zeros(16000, np.float32)
        self._first = 0

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add samples at the end."""
        held, count = self.end - self.start, len(samples)
        if self._first + held + count > len(self._array):
            kept = self._array[self._first : self._first + held]
            # Grow only when half of it would be in use, so that moving stays rare and the size bounded.
            size = (
                max(len(self._array), 2 * (held + count)) if 2 * (held + count) > len(self._array) else len(self._array)
            )
            array = np.zeros(size, np.float32)
            array[:held] = kept
            self._array, self._first = array, 0
        self._array[self._first + held : self._first + held + count] = samples
        self.end += count

    def read(self, start: int, end: int) -> NDArray[np.float32]:
        """A copy of samples [start, end); what is no longer or not yet there is left out."""
        low, high = max(start, self.start), min(end, self.end)
        at = self._first + low - self.start
        samples: NDArray[np.float32] = self._array[at : at + max(0, high - low)].copy()
        return samples

    def forget(self, before: int) -> None:
        """Give up the samples in front of an index."""
        step = min(max(before, self.start), self.end) - self.start
        self._first += step
        self.start += step
