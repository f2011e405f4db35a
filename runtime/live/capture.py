"""A microphone that survives faults: unplugging, a sound server that ends, suspension and a slow reader become items.

Three threads: PortAudio's copies and stamps (``_captured``); a supervisor opens, watches and opens again with backoff;
the reader's (``read``) takes the whole backlog, resamples it and gives it absolute indices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio.arrays import HIGHEST_RATE, LOWEST_RATE
from ..errors import EngineError, InputError
from . import portaudio
from .backlog import Backlog, Block, CapturedFrames
from .bounds import LONGEST, check
from .documents import LossCause
from .events import Dropped, SourceBack, SourceLost
from .sources import RATE, Item, on_grid
from .stream_clock import LossWatch, Timeline


@dataclass(frozen=True)
class CaptureSettings:
    """Which microphone to open, and how faults are found and repaired.

    The times were chosen, not swept; tests/runtime/live/test_microphone.py holds what they achieve on a virtual
    microphone: a source that was unplugged, killed or suspended for 5 s is back within 2 s.
    """

    device: str | int | None = None
    """A part of the device's name, or its index; default None, the system's default microphone."""

    rate: int | None = None
    """Rate in Hz to open it at; default None, the device's own."""

    backlog: float = 20.0
    """Seconds of sound kept for a slow reader before the oldest is dropped; default 20, the longest utterance."""

    watchdog: float = 1.0
    """Seconds without a callback after which the source counts as stalled; default 1, ten callbacks."""

    muted_after: float = 5.0
    """Seconds of nothing but zeros after which the source counts as muted; default 5."""

    backoff: tuple[float, float] = (0.1, 1.0)
    """First and longest pause in seconds between two attempts to open it again; default 0.1 and 1."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of bounds."""
        check(self, backlog=(0.1, LONGEST), watchdog=(0.01, 1e9), muted_after=(0.1, 1e9))
        if self.rate is not None:
            check(self, rate=(LOWEST_RATE, HIGHEST_RATE))
        first, longest = self.backoff
        if not 0 < first <= longest <= LONGEST:
            raise InputError(f"CaptureSettings.backoff must be two growing pauses above 0 s, it is {self.backoff}")


@dataclass(frozen=True)
class _StreamEnded:
    """A stream that ended: which opening, when its last callback came, how many frames all of them brought."""

    stream: int
    stamp: float
    received: int
    rate: int
    cause: LossCause
    message: str


class Microphone:
    """A microphone as a LiveSource; raises EngineError without PortAudio or a microphone, or for an unknown name."""

    def __init__(self, settings: CaptureSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the device and start capturing; clock: gives the time in seconds that callbacks are stamped with."""
        self.settings = settings or CaptureSettings()
        self._clock = clock
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._openings = 0
        self._received = 0
        self._last_callback = 0.0
        self._timeline = Timeline()
        self._lost_at: int | None = None
        self._zeros_since: int | None = None
        self._stream_id = -1
        self._expected = 0
        self._resampler: portaudio.Resampler | None = None
        self._watch = LossWatch(RATE)
        portaudio.refresh_if_empty()
        device = portaudio.find(self.settings.device)
        self.name = device.name
        self.rate = self.settings.rate or device.rate
        self._backlog = Backlog(self.settings.backlog)
        self._stream: portaudio.InputStream | None = self._open(device)
        self._supervisor = threading.Thread(target=self._supervise, name="wav2edge-capture", daemon=True)
        self._supervisor.start()

    def read(self, timeout: float) -> Sequence[Item]:
        """Sound and faults since the last call."""
        result: list[Item] = []
        for item in self._backlog.take(timeout):
            if isinstance(item, CapturedFrames):
                result += self._convert(item)
            elif isinstance(item, _StreamEnded):
                result += self._note_loss(item)
        return result

    @property
    def connected(self) -> bool:
        """Whether the device is open; False from a loss until it was opened again."""
        return self._stream is not None

    @property
    def waiting(self) -> float:
        """Seconds of sound that were captured and not read."""
        return self._backlog.seconds

    def present(self) -> int:
        """The absolute index of the sound of this moment."""
        return self._timeline.at(self._clock())

    def close(self) -> None:
        """Stop capturing and close the device."""
        self._stop.set()
        self._changed.set()
        self._supervisor.join(timeout=2.0)

    # PortAudio's thread: copy and stamp, nothing else.

    def _captured(self, opening: int, data: bytes, frames: int, rate: int) -> None:
        if opening != self._openings:
            return  # late callback of a closed stream
        now = self._clock()
        self._last_callback = now
        self._backlog.put(CapturedFrames(opening, self._received, frames, rate, data, now))
        self._received += frames

    # The supervisor's thread.

    def _open(self, device: portaudio.PortAudioDevice) -> portaudio.InputStream:
        self._openings += 1
        opening = self._openings
        self._received = 0
        self._changed.clear()
        self._last_callback = self._clock()
        return portaudio.open_stream(
            device,
            self.settings.rate,
            captured=lambda data, frames, rate: self._captured(opening, data, frames, rate),
            finished=lambda: self._changed.set() if opening == self._openings else None,
        )

    def _supervise(self) -> None:
        pause, longest = self.settings.backoff
        while not self._stop.is_set():
            fault = self._watch_stream()
            if self._stream is not None:
                if self._received:
                    pause = self.settings.backoff[0]
                self._stream.close()
                self._stream = None
            if fault is not None:
                self._backlog.put(fault)
            if self._stop.wait(pause):
                return
            pause = min(2 * pause, longest)
            try:
                portaudio.refresh()
                device = portaudio.find_again(self.settings.device, self.name)
                self._stream = self._open(device)
                self.name = device.name
            except EngineError:
                continue  # its loss was reported; try again after the pause

    def _watch_stream(self) -> _StreamEnded | None:
        """Wait until the stream ends or stalls; returns what it was, None without a stream or when closing."""
        woke = self._clock()
        while self._stream is not None:
            self._changed.wait(self.settings.watchdog / 4)
            if self._stop.is_set():
                return None
            slept, woke = woke, self._clock()
            if woke - slept > self.settings.watchdog:  # this process was suspended, not the source
                self._last_callback = max(self._last_callback, woke)
            if not self._stream.active:
                return self._ended("unplugged", "the stream ended (unplugged, or its sound server stopped)")
            silent = woke - self._last_callback
            if silent > self.settings.watchdog:
                return self._ended("stalled", f"no sound for {silent:.1f} s (suspended?)")
        return None

    def _ended(self, cause: LossCause, message: str) -> _StreamEnded:
        assert self._stream is not None
        opening, self._openings = self._openings, self._openings + 1  # later callbacks of it are ignored
        rate = self._stream.rate
        return _StreamEnded(opening, self._last_callback, self._received, rate, cause, f"{self.name}: {message}")

    # The reader's thread.

    def _note_loss(self, lost: _StreamEnded) -> list[Item]:
        """The stream is over; sound at its end that the backlog dropped is reported as dropped."""
        result: list[Item] = []
        if lost.stream != self._stream_id and lost.received:
            result += self._enter(lost.stream, lost.stamp, lost.received, lost.rate)
        if lost.stream == self._stream_id and lost.received > self._expected:
            result += self._skip((lost.received - self._expected) / lost.rate)
            self._expected = lost.received
        if self._lost_at is not None and self._lost_at != self._zeros_since:
            return result
        self._zeros_since = None
        result += self._flush()
        self._lost_at = self._timeline.next
        return [*result, SourceLost(self._lost_at / RATE, lost.cause, lost.message)]

    def _enter(self, stream: int, stamp: float, received: int, rate: int) -> list[Item]:
        """A stream of ``rate`` Hz was opened that had given ``received`` frames at ``stamp``."""
        result = self._flush()
        self.rate = rate
        self._stream_id = stream
        self._expected = 0
        self._watch = LossWatch(rate)
        self._timeline.begin(stamp, received, rate)
        if self._lost_at is not None and self._zeros_since is None:
            result.append(SourceBack(self._timeline.next / RATE, (self._timeline.next - self._lost_at) / RATE))
            self._lost_at = None
        return result

    def _flush(self) -> list[Item]:
        tail = self._resampler.flush() if self._resampler is not None else np.zeros(0, np.float32)
        self._resampler = None
        return self._blocks(tail)

    def _blocks(self, samples: NDArray[np.float32]) -> list[Item]:
        if not len(samples):
            return []
        block = Block(self._timeline.next, on_grid(samples))
        self._timeline.next = block.end
        return [block]

    def _convert(self, raw: CapturedFrames) -> list[Item]:
        result: list[Item] = []
        if raw.stream != self._stream_id:
            result += self._enter(raw.stream, raw.stamp, raw.first + raw.frames, raw.rate)
        if raw.first > self._expected:
            result += self._skip((raw.first - self._expected) / self.rate)
        lost = self._watch.update(raw.stamp, raw.first + raw.frames)
        if lost:
            result += self._skip(lost)
        self._timeline.drift = self._watch.drift
        self._expected = raw.first + raw.frames
        if self._resampler is None:
            self._resampler = portaudio.Resampler(self.rate, RATE)
        samples = portaudio.mono(raw.data, raw.frames)
        result += self._muted(samples)
        result += self._blocks(self._resampler(samples))
        return result

    def _skip(self, seconds: float) -> list[Item]:
        flushed = self._flush()
        self._timeline.skip(seconds)
        return [*flushed, Dropped(self._timeline.next / RATE, round(seconds, 3))]

    def _muted(self, samples: NDArray[np.float32]) -> list[Item]:
        now = self._timeline.next
        if samples.any():
            since, self._zeros_since = self._zeros_since, None
            if since is not None and self._lost_at == since:
                self._lost_at = None
                return [SourceBack(now / RATE, (now - since) / RATE)]
            return []
        if self._zeros_since is None:
            self._zeros_since = now
        elif self._lost_at is None and now - self._zeros_since >= self.settings.muted_after * RATE:
            self._lost_at = self._zeros_since
            message = f"{self.name}: nothing but zeros for {self.settings.muted_after:.0f} s; is it muted?"
            return [SourceLost(self._zeros_since / RATE, "muted", message)]
        return []
