"""From a device's frames to absolute 16 kHz samples, and which frames never arrived."""

from __future__ import annotations

from collections import deque

RATE = 16000


class LossWatch:
    """Finds sound that the system lost silently, by comparing the frames received with the clock.

    Late frames are not lost: the backlog arrives soon after. So the smallest shortfall of the last ``window`` seconds
    counts, against a baseline that follows a device clock up to 500 ppm off.
    """

    def __init__(self, rate: int, threshold: float = 0.25, window: float = 2.0) -> None:
        """rate: frames per second. threshold, window: seconds."""
        self.rate = rate
        self.threshold = threshold
        self.window = window
        self._began: float | None = None
        self._baseline = 0.0
        self._last = 0.0
        self._lost = 0.0
        self._recent: deque[tuple[float, float]] = deque()

    @property
    def drift(self) -> float:
        """Seconds that the device's clock has lost against the machine's since its first frame."""
        return self._baseline - self._lost

    def update(self, stamp: float, received: int) -> float:
        """A callback at ``stamp`` (monotonic, s) brought the stream to ``received`` frames; returns seconds lost."""
        if self._began is None:
            self._began = stamp - received / self.rate
            self._last = stamp
        shortfall = (stamp - self._began) - received / self.rate
        self._baseline = min(shortfall, self._baseline + 5e-4 * (stamp - self._last))
        self._last = stamp
        self._recent.append((stamp, shortfall))
        while self._recent[0][0] < stamp - self.window:
            self._recent.popleft()
        if stamp - self._recent[0][0] < 0.8 * self.window:
            return 0.0
        lost = min(value for _, value in self._recent) - self._baseline
        if lost < self.threshold:
            return 0.0
        self._baseline += lost
        self._lost += lost
        self._recent.clear()
        return lost


class Timeline:
    """Absolute 16 kHz indices for the frames of one device that may be opened several times.

    drift: seconds that the device's clock has lost against the machine's since it was opened.
    """

    def __init__(self) -> None:
        """Begin before the first opening."""
        self.zero: float | None = None
        self.next = 0
        self.drift = 0.0

    def begin(self, stamp: float, frames: int, rate: int) -> int:
        """The index of the first of ``frames`` frames that were handed over at ``stamp`` after an opening."""
        first = stamp - frames / rate
        self.zero = first if self.zero is None else self.zero + self.drift
        self.drift = 0.0
        self.next = max(self.next, round((first - self.zero) * RATE))
        return self.next

    def skip(self, seconds: float) -> None:
        """Count seconds that were lost."""
        self.next += round(seconds * RATE)

    def at(self, moment: float) -> int:
        """The index of a monotonic time."""
        return 0 if self.zero is None else max(self.next, round((moment - self.zero - self.drift) * RATE))
