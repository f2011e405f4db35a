"""The live loop: sound from a source, windows through an engine, events out. Nothing here draws or prints."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..bundle.read import Bundle
from ..engines import EngineOptions, Session
from ..errors import InputError
from ..recordings.transcriber import Transcriber, WordDecoder
from ..text.transcript import Transcript
from .backlog import Block
from .decoder import LiveDecoder, decode
from .events import Dropped, Event, Final, SourceLost, Stats
from .features import can_keep
from .gate import QuietGate
from .sources import RATE, Source
from .utterance import LiveSettings, Window
from .vad import Detector, Silero

_POLL = 0.5
_QUIET = -120.0  # dBFS, said of digital silence


@dataclass(frozen=True)
class LoopSettings:
    """behind: seconds of lag from which partials are skipped; stats_every: seconds of sound between two Stats."""

    behind: float = 2.0
    stats_every: float = 1.0


class LiveTranscriber:
    """A model ready to caption streams; ``wav2edge.live`` is the short way to one microphone."""

    def __init__(
        self,
        transcriber: Transcriber,
        settings: LiveSettings | None = None,
        *,
        loop: LoopSettings | None = None,
        detector: Callable[[], Detector] | None = None,
        threads: int | None = None,
    ) -> None:
        """Use a Transcriber (``close`` closes it); its language model and hot words shape the finals.

        detector: makes the speech detector of one stream, which remembers what it heard (None: Silero's).
        threads: CPU threads for partials, of which they take half where features are kept: a window of few seconds
        costs less processor time on fewer threads, and nobody waits for a partial as for a final.
        Raises InputError when utterances could be longer than the transcriber's window, or hardly longer than their
        pre-roll, or features are to be kept and cannot be; EngineError without an engine for the speech detector.
        """
        self.transcriber = transcriber
        self.loop = loop or LoopSettings()
        self.detector = detector or _detector
        self.detector()  # nobody is to find out later that it cannot be made
        self.sessions: dict[str, Session] = {"full": transcriber.session}
        settings = settings or LiveSettings()
        variant = transcriber.bundle.variant(transcriber.variant)
        possible = can_keep(transcriber.spec) and {"frontend", "encoder"} <= set(variant.graphs)
        if settings.keep_features and not possible:
            raise InputError(f"{transcriber.bundle.path}: {variant.name} has no frontend and encoder to keep features")
        exact = transcriber.spec.norm == "layer"
        keep = possible and (exact if settings.keep_features is None else settings.keep_features)
        self.settings = replace(settings, keep_features=keep)
        longest, pass_seconds = settings.endpoint.longest_utterance, transcriber.chunking.window
        if longest + 1.0 > pass_seconds:
            raise InputError(
                f"the longest utterance ({longest:g} s) must be 1 s shorter than one pass ({pass_seconds:g} s)"
            )
        shortest = settings.pre_roll + 2.0
        if longest < shortest:
            raise InputError(f"the longest utterance ({longest:g} s) must be {shortest:g} s or more, pre-roll included")
        for stage in ("frontend", "encoder") if keep else ():
            window = self.settings.window
            options = EngineOptions(threads=_half(threads), longest_seconds=longest, window_seconds=window)
            session = engines.load(transcriber.bundle, variant, transcriber.engine, stage, options)
            self.sessions[stage] = session

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle | None = None,
        engine: str | None = None,
        variant: str | None = None,
        *,
        threads: int | None = None,
        decoder: WordDecoder | None = None,
        settings: LiveSettings | None = None,
        loop: LoopSettings | None = None,
    ) -> LiveTranscriber:
        """Load a bundle (None: the embedded one); arguments and errors are those of Transcriber.open."""
        transcriber = Transcriber.open(bundle, engine, variant, threads=threads, decoder=decoder)
        return cls(transcriber, settings, loop=loop, threads=threads)

    def decoder(self) -> LiveDecoder:
        """A decoder for one stream of this model."""
        return LiveDecoder(self.transcriber.spec, self.detector(), self.settings, self._finish)

    def session(self, source: Source, record: Callable[[Block], None] | None = None) -> LiveSession:
        """Caption a source, which the caller closes; ``record`` gets every block of sound before it is decoded."""
        return LiveSession(self, source, record)

    def run(self, window: Window) -> engines.Arrays:
        """Run one window of a decoder."""
        return self.sessions[window.stage].run(window.feeds)

    def close(self) -> None:
        """Give back what the engine holds."""
        for session in self.sessions.values():
            session.close()

    def __enter__(self) -> LiveTranscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
        return decode(self.transcriber.decoding(), samples, logits)


def _detector() -> Detector:
    return QuietGate(Silero())


def _half(threads: int | None) -> int:
    return max(1, (threads or os.cpu_count() or 1) // 2)


class LiveSession:
    """One run over one source: iterate over it for its events.

    heard, dropped: seconds of sound. words: in finals. lags: of the last windows, s. computed: seconds of computing.
    """

    def __init__(self, live: LiveTranscriber, source: Source, record: Callable[[Block], None] | None) -> None:
        """Use ``LiveTranscriber.session``."""
        self.live = live
        self.source = source
        self.record = record
        self.decoder = live.decoder()
        self.heard = 0.0
        self.dropped = 0.0
        self.words = 0
        self.computed = 0.0
        self.lags: deque[float] = deque(maxlen=20_000)
        self._stopped = False
        self._hop_time = 0.0
        self._told = 0.0
        self._computed_told = 0.0
        self._power = 0.0

    def stop(self) -> None:
        """End in order: the running utterance gets its Final, then the iteration ends. Any thread may call it."""
        self._stopped = True

    def __iter__(self) -> Iterator[Event]:
        """The events, until the source is over or ``stop`` was called."""
        while not self._stopped:
            items = self.source.read(_POLL)
            if items is None:
                break
            present = self.source.present()
            behind = present is not None and present - self.decoder.heard > self.live.loop.behind * RATE
            for item in items:
                if isinstance(item, Block):
                    yield from self._push(item)
                    continue
                if isinstance(item, Dropped):
                    self.dropped += item.seconds
                if isinstance(item, SourceLost):
                    yield from self._counted(self.decoder.close("gap"))
                    yield from self._windows(behind=True)
                yield item
            yield from self._windows(behind)
            if self.heard - self._told >= self.live.loop.stats_every:
                yield self._stats()
        yield from self._counted(self.decoder.close("end"))
        yield from self._windows(behind=True)
        if self.heard > self._told:
            yield self._stats()

    def _push(self, block: Block) -> Iterator[Event]:
        if self.record is not None:
            self.record(block)
        began = time.perf_counter()
        events = self.decoder.push(block.samples, block.start)
        self.computed += time.perf_counter() - began
        self.heard += len(block.samples) / RATE
        self._power += float(np.dot(block.samples, block.samples))
        return self._counted(events)

    def _counted(self, events: Sequence[Event]) -> Iterator[Event]:
        self.words += sum(len(event.words) for event in events if isinstance(event, Final))
        return iter(events)

    def _windows(self, behind: bool) -> Iterator[Event]:
        while (window := self.decoder.window(behind)) is not None:
            began = time.perf_counter()
            events = self.decoder.accept(window, self.live.run(window))
            self._hop_time = time.perf_counter() - began
            self.computed += self._hop_time
            present = self.source.present()
            if window.purpose == "partial" and present is not None:
                self.lags.append(max(0.0, (present - window.end) / RATE))
            yield from self._counted(events)

    def _stats(self) -> Stats:
        seconds = self.heard - self._told
        power = self._power / (seconds * RATE)
        level = 10 * float(np.log10(power)) if power > 0 else _QUIET
        present = self.source.present()
        lag = max(0.0, (present - self.decoder.heard) / RATE) if present is not None else 0.0
        rtf = (self.computed - self._computed_told) / seconds
        self._told, self._computed_told, self._power = self.heard, self.computed, 0.0
        return Stats(
            time=round(self.decoder.heard / RATE, 3),
            lag=round(lag, 3),
            hop_time=round(self._hop_time, 4),
            rtf=round(rtf, 4),
            level=round(max(level, _QUIET), 1),
            dropped=round(self.dropped, 3),
        )
