"""A model ready for live sound, whatever its head: streams of a source, or of samples that the caller pushes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..audio.arrays import Orientation, SupportsArray, checked_rate, samples_of
from ..bundle.spec import Stage
from ..engines import Arrays, EngineOptions
from ..errors import InputError
from ..model import Model
from .backlog import Block
from .energy_gate import EnergyGate
from .events import Event
from .portaudio import Resampler
from .session import LiveSession, LiveStream, StreamDecoder
from .settings import LoopSettings
from .silero import Silero
from .sources import RATE, LiveSource
from .vad import VoiceActivityModel
from .window import Window

if TYPE_CHECKING:
    from typing_extensions import Self

_NAME = "the samples"  # what pushed samples are called in messages


class LiveModel(ABC):
    """What LiveTranscriber and LiveClassifier share.

    ``push`` samples of a loop of your own and ``finish``, or run over a source with ``session``. Use it as a context
    manager or call ``close``, which closes the model too.
    """

    def __init__(
        self, model: Model, loop: LoopSettings | None = None, vad: Callable[[], VoiceActivityModel] | None = None
    ) -> None:
        """loop: how often Stats come, and when partials are skipped. vad: makes the voice activity model of one stream.

        Raises EngineError without an engine for the voice activity model.
        """
        self.model = model
        self.spec = model.spec
        self.loop = loop or LoopSettings()
        self.vad = vad or _vad
        self.vad()  # fail now if it cannot be made
        self._stream: LiveStream | None = None
        self._rate = RATE
        self._resampler: Resampler | None = None
        self._orientation = Orientation()

    @abstractmethod
    def decoder(self) -> StreamDecoder:
        """A decoder for one stream of this model."""

    @abstractmethod
    def options(self, stage: Stage) -> EngineOptions:
        """How a stage of the model is loaded."""

    def session(self, source: LiveSource, record: Callable[[Block], None] | None = None) -> LiveSession:
        """Run over a source, which the caller closes; ``record`` gets every block of sound before it is decoded."""
        return LiveSession(self.decoder(), self.run, self.loop, source, record)

    def run(self, window: Window) -> Arrays:
        """Run one window of a decoder; raises EngineError."""
        return self.model.run(window.stage, window.feeds, self.options(window.stage))

    def push(self, samples: SupportsArray | Iterable[float], sample_rate: int | None = None) -> list[Event]:
        """Take the next samples of a stream, run what is due, and return the events.

        samples: [samples], [samples, channels] or [channels, samples], which are averaged; integers are scaled by
        their type, floats are in [-1, 1]. sample_rate: in Hz, 16 000 where it is omitted; the same for a whole stream.
        Pieces of 20 to 100 ms are best: an event comes no sooner than the push that completes its window. The first
        push after ``finish`` begins a new stream, at 0 s.

        Raises AudioError for samples that cannot be taken, InputError for another rate than before, EngineError.
        """
        rate = checked_rate(RATE if sample_rate is None else sample_rate, _NAME)
        if self._stream is None:
            self._stream = LiveStream(self.decoder(), self.run, self.loop)
            self._rate, self._resampler, self._orientation = rate, Resampler(rate, RATE), Orientation()
        if rate != self._rate or self._resampler is None:
            raise InputError(f"{_NAME}: {rate} Hz after {self._rate} Hz in one stream; call finish() between them")
        if isinstance(samples, Sized) and len(samples) == 0:
            return []
        mono = samples_of(samples, _NAME, self._orientation).mean(axis=1, dtype=np.float32)
        return self._events(self._stream, self._resampler(mono))

    def finish(self) -> list[Event]:
        """End the stream of ``push``: the running utterance gets its Final; returns the last events."""
        stream, self._stream = self._stream, None
        if stream is None or self._resampler is None:
            return []
        return [*self._events(stream, self._resampler.flush()), *stream.end_utterance(), *stream.stats()]

    def close(self) -> None:
        """Close the model, with every session of it."""
        self._stream = None
        self.model.close()

    def __getstate__(self) -> dict[str, object]:
        """What a copy, or a process that it is sent to, gets; raises InputError while a stream is running."""
        if self._stream is not None:
            raise InputError("a stream is running, which cannot be copied or pickled; call finish() first")
        return {**self.__dict__, "_resampler": None}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _events(self, stream: LiveStream, samples: NDArray[np.float32]) -> list[Event]:
        return [*stream.push(samples), *stream.windows(), *stream.stats(self.loop.stats_every)]


def _vad() -> VoiceActivityModel:
    return EnergyGate(Silero())
