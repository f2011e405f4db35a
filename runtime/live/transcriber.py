"""A model ready to caption streams: of a source, or of samples that the caller pushes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..audio.arrays import SupportsArray, checked_rate, samples_of
from ..bundle.spec import Stage
from ..engines import Arrays, EngineOptions
from ..errors import InputError
from ..heads import ctc
from ..model import Model
from ..recordings.chunking import Chunking
from ..recordings.decoding import Decoding, WordDecoder
from ..recordings.segmentation import Segmentation
from ..recordings.transcriber import Transcriber
from ..text.transcript import Transcript
from .backlog import Block
from .decoder import LiveDecoder, decode
from .energy_gate import EnergyGate
from .events import Event
from .features import can_keep
from .portaudio import Resampler
from .session import LiveSession, LiveStream
from .settings import LiveSettings, LoopSettings
from .silero import Silero
from .sources import RATE, Source
from .vad import VoiceActivityModel
from .window import Window

if TYPE_CHECKING:
    from typing_extensions import Self

_NAME = "the samples"  # what pushed samples are called in messages


class LiveTranscriber:
    """Captions speech while it is spoken, with a model whose head is CTC.

    ``push`` samples of a loop of your own and ``finish``, or caption a source with ``session``. Use it as a context
    manager or call ``close``, which closes the model too.
    """

    def __init__(
        self,
        model: Model,
        settings: LiveSettings | None = None,
        *,
        decoder: WordDecoder | None = None,
        segmentation: Segmentation | None = None,
        chunking: Chunking | None = None,
        loop: LoopSettings | None = None,
        vad: Callable[[], VoiceActivityModel] | None = None,
    ) -> None:
        """Load the stages that captions need, so that what is missing is raised here.

        decoder: how the logits of a whole utterance become words: greedy by default, language_model.BeamDecoder with a
        language model and hot words. segmentation, chunking: as a Transcriber has them, whose transcript of its samples
        a Final equals; an utterance must fit into one chunk. vad: makes the voice activity model of one stream, which
        has a state (None: Silero's behind an EnergyGate).

        Where features are kept, partials run on half of the model's threads: a window of few seconds costs less
        processor time on fewer threads, and a partial is less urgent than a Final.

        Raises InputError for a head that does not transcribe, for utterances longer than a chunk or hardly longer than
        their pre-roll, and for features to be kept that the model does not have; EngineError without an engine for the
        voice activity model, and what ``Model.session`` raises.
        """
        if model.spec.head != "ctc":
            raise InputError(f"{model.bundle.path}: its head is {model.spec.head}, which does not transcribe")
        self.model = model
        self.spec = model.spec
        self.loop = loop or LoopSettings()
        self.segmentation = segmentation or Segmentation()
        self.decode_words = decoder or ctc.Greedy(self.segmentation.word_gap)
        self.chunking = chunking or Chunking()
        self.settings = _complete(settings or LiveSettings(), model)
        _check_lengths(self.settings, self.chunking)
        self.vad = vad or _vad
        self.vad()  # fail now if it cannot be made
        self._stream: LiveStream | None = None
        self._rate = RATE
        self._resampler: Resampler | None = None
        stages: tuple[Stage, ...] = ("full", "frontend", "encoder") if self.settings.keep_features else ("full",)
        for stage in stages:
            model.session(stage, self.options(stage))

    def options(self, stage: Stage) -> EngineOptions:
        """How a stage is loaded: the model's options, and for the stages of partials those of a live window."""
        if stage == "full":
            return self.model.options
        return replace(
            self.model.options,
            threads=_half(self.model.options.threads),
            longest_seconds=self.settings.endpoint.longest_utterance,
            window_seconds=self.settings.window,
            keep_memory=True,
        )

    def transcriber(self) -> Transcriber:
        """A Transcriber of the same model and options, whose transcript of an utterance's samples equals its Final."""
        return Transcriber(
            self.model, decoder=self.decode_words, segmentation=self.segmentation, chunking=self.chunking
        )

    def decoder(self) -> LiveDecoder:
        """A decoder for one stream of this model."""
        return LiveDecoder(self.spec, self.vad(), self.settings, self._finish, self.segmentation)

    def session(self, source: Source, record: Callable[[Block], None] | None = None) -> LiveSession:
        """Caption a source, which the caller closes; ``record`` gets every block of sound before it is decoded."""
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

        Raises AudioError for samples that cannot be taken, EngineError.
        """
        rate = checked_rate(RATE if sample_rate is None else sample_rate, _NAME)
        if self._stream is None:
            self._stream = LiveStream(self.decoder(), self.run, self.loop)
            self._rate, self._resampler = rate, Resampler(rate, RATE)
        if rate != self._rate or self._resampler is None:
            raise InputError(f"{_NAME}: {rate} Hz after {self._rate} Hz in one stream; call finish() between them")
        if isinstance(samples, Sized) and len(samples) == 0:
            return []
        mono = samples_of(samples, _NAME).mean(axis=1, dtype=np.float32)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _events(self, stream: LiveStream, samples: NDArray[np.float32]) -> list[Event]:
        return [*stream.push(samples), *stream.windows(), *stream.stats(self.loop.stats_every)]

    def _finish(self, samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
        return decode(Decoding(self.spec, self.decode_words, self.segmentation), samples, logits)


def _complete(settings: LiveSettings, model: Model) -> LiveSettings:
    """The settings with ``keep_features`` decided; raises InputError where they cannot be kept."""
    possible = can_keep(model.spec) and {"frontend", "encoder"} <= set(model.variant.graphs)
    if settings.keep_features and not possible:
        raise InputError(
            f"{model.bundle.path}: {model.variant.name} has no frontend and encoder of which to keep features"
        )
    exact = model.spec.norm == "layer"
    keep = exact if settings.keep_features is None else settings.keep_features
    return replace(settings, keep_features=possible and keep)


def _check_lengths(settings: LiveSettings, chunking: Chunking) -> None:
    longest, shortest = settings.endpoint.longest_utterance, settings.pre_roll + 2.0
    if longest + 1.0 > chunking.length:
        raise InputError(
            f"the longest utterance ({longest:g} s) must be 1 s shorter than one pass ({chunking.length:g} s)"
        )
    if longest < shortest:
        raise InputError(f"the longest utterance ({longest:g} s) must be {shortest:g} s or more, pre-roll included")


def _vad() -> VoiceActivityModel:
    return EnergyGate(Silero())


def _half(threads: int | None) -> int | None:
    return None if threads is None else max(1, threads // 2)
