"""One live stream of a server: samples in from any thread, events out; it has no thread.

The scheduler feeds it and runs its windows. Sound that a client sends faster than it is decoded waits here, at most
``limit`` seconds of it; beyond that the oldest sound is dropped, with a Dropped event.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..runtime.engines import Arrays
from ..runtime.live.backlog import Block
from ..runtime.live.decoder import LiveDecoder
from ..runtime.live.events import Dropped, Event
from ..runtime.live.session import LiveStream
from ..runtime.live.sources import RATE
from ..runtime.live.transcriber import LiveTranscriber
from ..runtime.live.window import Window

Emit = Callable[[Sequence[Event]], None]
"""Takes events in order; called on the scheduler's threads, so it must be quick and not raise."""

Ended = Callable[[BaseException | None], None]
"""Called once, after the last events; with the error where the stream failed."""


class CaptionStream(LiveStream):
    """The captions of one client."""

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
        self.captions: LiveDecoder = live.decoder()
        super().__init__(self.captions, live.run, live.loop)
        self.live = live
        self.limit = limit
        self.over = False  # ended, failed or cancelled
        self._emit = emit
        self._ended = ended
        self._clock = clock
        self._lock = threading.Lock()
        self._incoming: deque[Block] = deque()
        self._outcomes: deque[tuple[Window, Arrays, float]] = deque()
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

    # What follows is called by the scheduler, by one thread at a time.

    def deliver(self, window: Window, outputs: Arrays, seconds: float) -> None:
        """Take the outputs of an issued window; ``serve`` processes them."""
        with self._lock:
            self._outcomes.append((window, outputs, seconds))

    def wants_service(self) -> bool:
        """Whether ``serve`` has something to do."""
        return not self.over and bool(
            self._incoming or self._outcomes or self._lost or (self._ending and not self._closed)
        )

    def serve(self) -> None:
        """Process samples and outputs that wait, and emit the events that follow."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, deque()
            incoming, self._incoming = self._incoming, deque()
            lost, self._lost = self._lost, deque()
            self._waiting = 0
            ending = self._ending
        events: list[Event] = list(lost)
        for window, outputs, seconds in outcomes:
            self._running -= 1
            events += self.accept(window, outputs, seconds)
        for block in incoming:
            events += self.push(block.samples, block.start)
        if ending and not self._closed:
            self._closed = True
            events += self._counted(self.decoder.close("end"))
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
        """What should be run next: ``final``, ``partial`` or None; partials are skipped while the sound comes late."""
        if self.over:
            return None
        return self.captions.due(finals_only=self._closed or self._late())

    def issue(self) -> Window | None:
        """The window that is due (see ``due``); ``deliver`` takes its outputs."""
        window = self.captions.window(finals_only=self._closed or self._late())
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
