"""One stream of sound through a model: blocks in, windows through the engine, events out. Nothing here prints."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines import Arrays
from ..errors import AudioError
from .backlog import Block
from .documents import EndReason
from .events import Dropped, Event, Final, Label, SourceLost, Stats
from .settings import LoopSettings
from .sources import RATE, Item, LiveSource
from .window import Window

_POLL = 0.5  # seconds that one read of a source may wait, and so how late ``stop`` may be noticed
_QUIET = -120.0  # dBFS reported for digital silence


class StreamDecoder(Protocol):
    """What decodes one stream: LiveDecoder, LabelDecoder."""

    @property
    def received(self) -> int:
        """The absolute index after the last sample pushed."""

    def push(self, samples: NDArray[np.float32], start: int) -> list[Event]:
        """Take mono float32 [samples] whose first has the absolute 16 kHz index ``start``."""

    def window(self, finals_only: bool = False) -> Window | None:
        """The next window to run, or None; finals_only: only what must not be skipped."""

    def accept(self, window: Window, outputs: Arrays) -> list[Event]:
        """Take the outputs of a window's stage; returns the events that follow."""

    def close(self, reason: EndReason = "end") -> list[Event]:
        """End what is running now."""


class LiveStream:
    """One stream without a source: ``push`` samples, run the ``windows`` they make due, ``finish``.

    seconds: of sound received. dropped: seconds of sound lost. words: in finals. labels: events of a classifier.
    computed: seconds of computing. lags: of the last windows, s.
    """

    def __init__(self, decoder: StreamDecoder, run: Callable[[Window], Arrays], settings: LoopSettings) -> None:
        """decoder: a fresh one. run: runs one window on the model."""
        self.decoder = decoder
        self.settings = settings
        self.seconds = 0.0
        self.dropped = 0.0
        self.words = 0
        self.labels = 0
        self.computed = 0.0
        self.lags: deque[float] = deque(maxlen=20_000)
        self._run = run
        self._hop_time = 0.0
        self._reported = 0.0  # seconds of sound and of computing at the last Stats
        self._computed_reported = 0.0
        self._power = 0.0

    def push(self, samples: NDArray[np.float32], start: int | None = None) -> list[Event]:
        """Take mono float32 [samples] in [-1, 1] at 16 kHz; start: their absolute index (None: the next)."""
        began = time.perf_counter()
        events = self.decoder.push(samples, self.decoder.received if start is None else start)
        self.computed += time.perf_counter() - began
        self.seconds += len(samples) / RATE
        self._power += float(np.dot(samples, samples.astype(np.float64)))
        return self._counted(events)

    def windows(self, finals_only: bool = False) -> Iterator[Event]:
        """Run every window that is due; finals_only: skip partials, so that finals come in time."""
        while (window := self.decoder.window(finals_only)) is not None:
            began = time.perf_counter()
            outputs = self._run(window)
            yield from self.accept(window, outputs, time.perf_counter() - began)

    def accept(self, window: Window, outputs: Arrays, seconds: float) -> list[Event]:
        """Take the outputs of a window that was run, and what running it took in seconds; returns the events."""
        began = time.perf_counter()
        events = self.decoder.accept(window, outputs)
        self._hop_time = seconds + time.perf_counter() - began
        self.computed += self._hop_time
        self._note_lag(window)
        return self._counted(events)

    def end_utterance(self, gap: bool = False) -> Iterator[Event]:
        """End the running utterance and run its final pass; gap: the source was lost, the stream goes on later."""
        yield from self._counted(self.decoder.close("gap" if gap else "end"))
        yield from self.windows(finals_only=True)

    def stats(self, at_least: float = 0.0) -> Iterator[Stats]:
        """A Stats event when more than ``at_least`` seconds of sound came since the last one."""
        seconds = self.seconds - self._reported
        if seconds <= 0 or seconds < at_least:
            return
        power = self._power / (seconds * RATE)
        level = 10 * float(np.log10(power)) if power > 0 else _QUIET
        present = self.present()
        lag = max(0.0, (present - self.decoder.received) / RATE) if present is not None else 0.0
        rtf = (self.computed - self._computed_reported) / seconds
        self._reported, self._computed_reported, self._power = self.seconds, self.computed, 0.0
        yield Stats(
            time=round(self.decoder.received / RATE, 3),
            lag=round(lag, 3),
            hop_time=round(self._hop_time, 4),
            rtf=round(rtf, 4),
            level=round(max(level, _QUIET), 1),
            dropped=round(self.dropped, 3),
        )

    def present(self) -> int | None:
        """The absolute index of the sound of this moment; None without a clock."""
        return None

    def _note_lag(self, window: Window) -> None:
        present = self.present()
        if window.purpose in ("partial", "label") and present is not None:
            self.lags.append(max(0.0, (present - window.end) / RATE))

    def _counted(self, events: Sequence[Event]) -> list[Event]:
        self.words += sum(len(event.words) for event in events if isinstance(event, Final))
        self.labels += sum(isinstance(event, Label) for event in events)
        return list(events)


class LiveSession(LiveStream):
    """One stream from a source: iterate over it for its events."""

    def __init__(
        self,
        decoder: StreamDecoder,
        run: Callable[[Window], Arrays],
        settings: LoopSettings,
        source: LiveSource,
        record: Callable[[Block], None] | None = None,
    ) -> None:
        """record: called with every block of sound before it is decoded."""
        super().__init__(decoder, run, settings)
        self.source = source
        self.record = record
        self._stopped = False

    def stop(self) -> None:
        """End in order: one last read without waiting, the running utterance's Final, then the iteration ends.

        Any thread may call it.
        """
        self._stopped = True

    def present(self) -> int | None:
        """The absolute index of the sound of this moment, by the source's clock; None where it has none."""
        return self.source.present()

    def __iter__(self) -> Iterator[Event]:
        """The events, until the source is over or ``stop`` was called; what has arrived by then is decoded.

        Where the source raises AudioError (a damaged recording), the running utterance gets its Final first.
        """
        damage: AudioError | None = None
        while not self._stopped:
            try:
                items = self.source.read(_POLL)
            except AudioError as error:
                damage = error
                break
            if items is None:
                break
            yield from self._taken(items)
        else:
            yield from self._taken(self._waiting())
        yield from self.end_utterance()
        yield from self.stats()
        if damage is not None:
            raise damage

    def _waiting(self) -> Sequence[Item]:
        """What has arrived in the source; damage after it does not matter once ``stop`` was called."""
        try:
            return self.source.read(0.0) or ()
        except AudioError:
            return ()

    def _taken(self, items: Sequence[Item]) -> Iterator[Event]:
        """Decode what a read of the source gave."""
        present = self.present()
        late = present is not None and present - self.decoder.received > self.settings.max_lag * RATE
        for item in items:
            if isinstance(item, Block):
                if self.record is not None:
                    self.record(item)
                yield from self.push(item.samples, item.start)
                continue
            if isinstance(item, Dropped):
                self.dropped += item.seconds
            if isinstance(item, SourceLost):
                yield from self.end_utterance(gap=True)
            yield item
        yield from self.windows(finals_only=late)
        yield from self.stats(self.settings.stats_every)
