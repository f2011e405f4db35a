"""Counts of a scheduler's work, for /metrics and /v1/status."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_LOAD_SECONDS = 10.0  # over which the load is computed


@dataclass
class Counts:
    """Counts of the scheduler's work.

    batches: how many batches ran, by the number of runs in each. computed: seconds that they took. sound: seconds of
    sound in them. waits, lags: of the last runs and partials, s.
    """

    batches: dict[int, int] = field(default_factory=dict)
    computed: float = 0.0
    sound: float = 0.0
    errors: int = 0
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=4096))
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=4096))
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4096))
    """When the last batches ended, and how long they took, s."""

    def ran(self, size: int, seconds: float, sound: float, now: float) -> None:
        """Count a batch; the caller holds the scheduler's lock, here and for ``load``."""
        self.batches[size] = self.batches.get(size, 0) + 1
        self.computed += seconds
        self.sound += sound
        self.recent.append((now, seconds))

    def load(self, now: float, lanes: int) -> float:
        """The share of the last seconds in which the lanes were computing, 0 to 1."""
        while self.recent and self.recent[0][0] < now - _LOAD_SECONDS:
            self.recent.popleft()
        return min(1.0, sum(seconds for _, seconds in self.recent) / (_LOAD_SECONDS * lanes))
