"""The bounded queue between the sound card's thread and the decoder; it drops the oldest sound when it is full.

The callback only copies and stamps (``put``); the reader takes the whole backlog at once (``take``), so that a delay
costs one pass and not many.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Block:
    """Mono samples float32 [samples] in [-1, 1]; ``start`` is the absolute index of the first at the model's rate."""

    start: int
    samples: NDArray[np.float32]

    @property
    def end(self) -> int:
        """The index after the last sample."""
        return self.start + len(self.samples)


@dataclass(frozen=True)
class CapturedFrames:
    """What a callback gives: int16 frames as bytes, their count and rate (Hz), and the monotonic time (s).

    stream: which opening of the device they came from. first: the index of the first frame in that stream.
    """

    stream: int
    first: int
    frames: int
    rate: int
    data: bytes
    stamp: float

    @property
    def seconds(self) -> float:
        """How long they last, s."""
        return self.frames / self.rate


class Backlog:
    """Items in order, at most ``limit`` seconds of sound; notices (anything but CapturedFrames) are never dropped."""

    def __init__(self, limit: float) -> None:
        """limit: seconds, at whatever rate the device has."""
        self.limit = limit
        self.seconds = 0.0
        self._items: deque[object] = deque()
        self._condition = threading.Condition()

    def put(self, item: object) -> None:
        """Add an item; drops the oldest sound beyond the limit."""
        with self._condition:
            self._items.append(item)
            if isinstance(item, CapturedFrames):
                self.seconds += item.seconds
                if self.seconds > self.limit:
                    self._drop()
            self._condition.notify()

    def take(self, timeout: float | None = None) -> list[object]:
        """All items at once; waits up to ``timeout`` seconds for the first (None: without limit)."""
        with self._condition:
            if not self._items:
                self._condition.wait(timeout)
            items = list(self._items)
            self._items.clear()
            self.seconds = 0.0
            return items

    def _drop(self) -> None:
        kept: list[object] = []
        while self.seconds > self.limit and self._items:
            oldest = self._items.popleft()
            if isinstance(oldest, CapturedFrames):
                self.seconds -= oldest.seconds
            else:
                kept.append(oldest)
        self._items.extendleft(reversed(kept))
