"""Memory that only grows: one device buffer and one pinned buffer for each tensor of a session."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .cuda import Cuda, view

_ALIGNMENT = 256
_HEADROOM = 1.25
"""How much more than needed is allocated: a longer clip is often followed by one a little longer, and each growth costs
a synchronisation."""


class Buffer:
    """Device memory and pinned host memory of one size; ``generation`` counts how often they grew, and moved."""

    def __init__(self, cuda: Cuda) -> None:
        """An empty buffer."""
        self._cuda = cuda
        self.size = 0
        self.device = 0
        self.pinned = 0
        self.generation = 0

    def at_least(self, size: int) -> None:
        """Allocate at least ``size`` bytes; a buffer that is large enough stays as it is."""
        if size <= self.size and self.device:
            return
        wanted = max(_ALIGNMENT, -(-int(size * (_HEADROOM if self.size else 1)) // _ALIGNMENT) * _ALIGNMENT)
        # Nothing may still read or write the old memory when it is released.
        self._cuda.synchronize()
        self.free()
        self.device = self._cuda.allocate(wanted)
        self.pinned = self._cuda.allocate_pinned(wanted)
        self.size = wanted
        self.generation += 1

    def array(self, shape: Sequence[int], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """The beginning of the pinned memory as an array."""
        size = int(np.prod(shape)) * dtype.itemsize
        array: NDArray[np.generic] = view(self.pinned, size).view(dtype).reshape(tuple(shape))
        return array

    def free(self) -> None:
        """Release both."""
        if self.device:
            self._cuda.free(self.device)
            self.device = 0
        if self.pinned:
            self._cuda.free_pinned(self.pinned)
            self.pinned = 0
        self.size = 0
