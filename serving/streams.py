"""One live stream of a server: samples in from any thread, events out; it has no thread.

The scheduler feeds it and runs its windows. Sound that a client sends faster than it is decoded waits here, at most
``limit`` seconds of it; beyond that the oldest sound is dropped, with a Dropped event.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..runtime.engines import Arrays
from ..runtime.live.backlog import Block
from ..runtime.live.decoder import LiveDecoder
from ..runtime.live.events import Dropped, Event
from ..runtime.live.session import LiveStream
from ..runtime.live.sources import RATE
from ..runtime.live.transcriber import LiveTranscriber
from ..runtime.live.voices import PreparedVoice
from ..runtime.live.window import Window

Emit = Callable[[Sequence[Event]], None]
"""Takes events in order; called on the scheduler's threads, so it must be quick and not raise."""

Ended = Callable[[BaseException | None], None]
"""Called once, after the last events; with the error where the stream failed."""


@dataclass(frozen=True)
class Taken:
    """What a stream is to process: sound in blocks that follow each other, losses, and whether the sound is over."""

    blocks: Sequence[Block]
    lost: Sequence[Dropped]
    ending: bool


class CaptionStream(LiveStream):
    """The captions of one client. voice: its speech detector, which may be run ahead of ``serve``."""

    def __init__(
        self,
        live: LiveTranscriber,
        emit: Emit,
        ended: Ended,
        *,
        limit: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """live: the model it runs on. limit: seconds of sound that may wait. clock: seconds, for lags."""
        self.voice = PreparedVoice(live.vad())
        self.captions: LiveDecoder = live.decoder(self.voice)
        super().__init__(self.captions, live.run, live.loop)
        self.live = live
        self.limit = limit
        self.over = False  # ended, failed or cancelled
        self._emit = emit
        self._ended = ended
        self._clock = clock
        self._lock = threading.Lock()
        self._incoming: deque[Block] = deque()
        self._lost: deque[Dropped] = deque()
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=2048)  # the index after a block, and when it came
        self._waiting = 0  # samples in _incoming
        self._next = 0  # the absolute index of the next sample to come
        self._ending = False
        self._closed = False
        self._running = 0  # windows that are being run

    @property
    def waiting(self) -> float:
        """Seconds of sound that were offered and not fed yet."""
        return self._waiting / RATE

    def present(self) -> int | None:
        """The absolute index after the last sample that came."""
        return self._next

    def offer(self, samples: NDArray[np.float32]) -> None:
        """Take mono float32 [samples] at 16 kHz to be fed later; drops the oldest beyond the limit."""
        if len(samples) == 0:
            return
        with self._lock:
            if self.over or self._ending:
                return
            self._incoming.append(Block(self._next, samples))
            self._next += len(samples)
            self._waiting += len(samples)
            self._arrivals.append((self._next, self._clock()))
            while self._waiting > self.limit * RATE and len(self._incoming) > 1:
                oldest = self._incoming.popleft()
                self._waiting -= len(oldest.samples)
                seconds = len(oldest.samples) / RATE
                self.dropped += seconds
                self._lost.append(Dropped(round(oldest.end / RATE, 3), round(seconds, 3)))

    def finish(self) -> None:
        """No more samples come: the running utterance gets its Final, then the stream ends."""
        with self._lock:
            self._ending = True

    def cancel(self) -> None:
        """End at once without further events; what is being run is discarded."""
        with self._lock:
            self.over = True
            self._incoming.clear()
            self._waiting = 0

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        if not self.over:
            self.over = True
            self._ended(error)

    def take(self) -> Taken:
        """Take what waits, for ``serve`` or to be forgotten."""
        with self._lock:
            incoming, self._incoming = self._incoming, deque()
            lost, self._lost = self._lost, deque()
            self._waiting = 0
            return Taken(_joined(incoming), lost, self._ending)

    # What follows is called by the scheduler, by one thread at a time.

    def voice_windows(self, taken: Taken) -> list[NDArray[np.float32]]:
        """The windows about which ``serve`` will ask the voice; the blocks after a gap are left out."""
        if not taken.blocks or self.over:
            return []
        return self.captions.voice_windows(taken.blocks[0].samples, taken.blocks[0].start)

    def serve(self, taken: Taken) -> None:
        """Process what was taken, and emit the events that follow."""
        events: list[Event] = list(taken.lost)
        for block in taken.blocks:
            events += self.push(block.samples, block.start)
        if taken.ending and not self._closed:
            self._closed = True
            events += self._counted(self.decoder.close("end"))
        self._say(events)

    def deliver(self, window: Window, outputs: Arrays, seconds: float) -> float | None:
        """Process the outputs of an issued window, and emit the events that follow; returns a partial's lag in s."""
        self._running -= 1
        self._say(self.accept(window, outputs, seconds))
        return self.lags[-1] if window.purpose == "partial" and self.lags else None

    def _say(self, events: list[Event]) -> None:
        finished = self._closed and self.captions.pending == 0 and self._running == 0
        events += self.stats(0.0 if finished else self.settings.stats_every)
        if self.over:
            return
        if events:
            self._emit(events)
        if finished:
            self.over = True
            self._ended(None)

    def due(self) -> str | None:
        """What should be run next (see LiveDecoder.due), or None; partials are skipped while the sound comes late."""
        if self.over:
            return None
        return self.captions.due(finals_only=self._closed or self._late())

    def since(self) -> float:
        """When the last sample came that the next partial should have covered, in seconds of the clock."""
        utterance, now = self.captions.utterance, self._clock()
        if utterance is None:
            return now
        with self._lock:
            return next((came for end, came in self._arrivals if end >= utterance.next_end), now)

    def issue(self, behind: bool = False) -> Window | None:
        """The window that is due (see ``due``); ``deliver`` takes its outputs. behind: a partial gets less context."""
        window = self.captions.window(self._closed or self._late(), behind)
        if window is not None:
            self._running += 1
        return window

    def _late(self) -> bool:
        with self._lock:
            oldest = self._incoming[0] if self._incoming else None
            if oldest is None:
                return False
            came = next((stamp for end, stamp in self._arrivals if end >= oldest.end), None)
        return came is not None and self._clock() - came > self.settings.max_lag

    def _note_lag(self, window: Window) -> None:
        with self._lock:
            while len(self._arrivals) > 1 and self._arrivals[0][0] < window.end:
                self._arrivals.popleft()
            came = self._arrivals[0][1] if self._arrivals else None
        if window.purpose == "partial" and came is not None:
            self.lags.append(max(0.0, self._clock() - came))


def _joined(blocks: Sequence[Block]) -> list[Block]:
    """Blocks that follow each other as one."""
    runs: list[list[Block]] = []
    for block in blocks:
        if runs and runs[-1][-1].end == block.start:
            runs[-1].append(block)
        else:
            runs.append([block])
    return [
        run[0] if len(run) == 1 else Block(run[0].start, np.concatenate([block.samples for block in run]))
        for run in runs
    ]
