"""A model that transcribes, ready to caption live sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..bundle.spec import Stage
from ..engines import EngineOptions
from ..errors import InputError
from ..heads import ctc
from ..model import SMALL_BYTES, Model
from ..recordings.chunking import Chunking
from ..recordings.decoding import Decoding, WordDecoder
from ..recordings.segmentation import Segmentation
from ..recordings.transcriber import Transcriber
from ..text.transcript import Transcript
from .decoder import LiveDecoder, decode
from .features import can_keep, stages_to_keep
from .model import LiveModel
from .settings import LiveSettings, LoopSettings
from .vad import VoiceActivityModel


class LiveTranscriber(LiveModel):
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
        language model and hot words. segmentation, chunking: of ``transcriber``, whose transcript of its samples a
        Final equals; an utterance must fit into one chunk, of 30 s by default. vad: makes the voice activity model of
        one stream, which has a state (None: Silero's after an EnergyGate).

        Where features are kept, partials of small models run on half of the model's threads: a window of few seconds
        costs less processor time on fewer threads, and a partial is less urgent than a Final. That takes sessions of
        their own, whose memory larger models (``model.SMALL_BYTES``) save: partials and finals share theirs. So do they
        on an engine that keeps memory for each length.

        Raises InputError for a head that does not transcribe, for utterances longer than a chunk or hardly longer than
        their pre-roll, and for features to be kept that the model does not have; EngineError without an engine for the
        voice activity model, and what ``Model.session`` raises.
        """
        if model.spec.head != "ctc":
            raise InputError(f"{model.bundle.path}: its head is {model.spec.head}, which does not transcribe")
        super().__init__(model, loop, vad)
        self.segmentation = segmentation or Segmentation()
        self.decode_words = decoder or ctc.Greedy(self.segmentation.word_gap)
        self.chunking = chunking or Chunking()
        self.settings = _complete(settings or LiveSettings(), model)
        _check_lengths(self.settings, self.chunking)
        stages: tuple[Stage, ...] = stages_to_keep(model.spec) if self.settings.keep_features else ()
        for stage in ("full", *stages):
            model.prepare(stage, self.options(stage))

    def options(self, stage: Stage) -> EngineOptions:
        """How a stage is loaded: the model's options, and for the stages of partials those of a live window."""
        shared = self._shares_sessions
        if stage == "full" and not shared:
            return self.model.options
        threads = self.model.options.threads
        return replace(
            self.model.options,
            threads=threads if shared else _half(threads),
            longest_seconds=self.settings.endpoint.longest_utterance,
            window_seconds=self.settings.window,
            keep_memory=True,
        )

    @property
    def _shares_sessions(self) -> bool:
        model = self.model
        return model.runs_in_tiles and (model.variant.bytes > SMALL_BYTES or engines.keeps_lengths(model.engine))

    def transcriber(self) -> Transcriber:
        """A Transcriber of the same model and options, whose transcript of an utterance's samples equals its Final."""
        return Transcriber(
            self.model, decoder=self.decode_words, segmentation=self.segmentation, chunking=self.chunking
        )

    def decoder(self, vad: VoiceActivityModel | None = None) -> LiveDecoder:
        """A decoder for one stream of this model; vad: its voice activity model (None: a new one)."""
        return LiveDecoder(self.spec, vad or self.vad(), self.settings, self._finish, self.segmentation)

    def _finish(self, samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
        return decode(Decoding(self.spec, self.decode_words, self.segmentation), samples, logits)


def _complete(settings: LiveSettings, model: Model) -> LiveSettings:
    """The settings with ``keep_features`` decided; raises InputError where they cannot be kept."""
    wanted = stages_to_keep(model.spec)
    possible = can_keep(model.spec) and set(wanted) <= set(model.variant.graphs)
    if "tile" in wanted:
        possible = possible and model.runs_in_tiles
    if settings.keep_features and not possible:
        raise InputError(
            f"{model.bundle.path}: {model.variant.name} lacks {' or '.join(wanted)}, of which features are kept"
        )
    return replace(settings, keep_features=possible and settings.keep_features is not False)


def _check_lengths(settings: LiveSettings, chunking: Chunking) -> None:
    longest, shortest = settings.endpoint.longest_utterance, settings.pre_roll + 2.0
    if longest + 1.0 > chunking.length:
        raise InputError(
            f"the longest utterance ({longest:g} s) must be 1 s shorter than one pass ({chunking.length:g} s)"
        )
    if longest < shortest:
        raise InputError(f"the longest utterance ({longest:g} s) must be {shortest:g} s or more, pre-roll included")


def _half(threads: int | None) -> int | None:
    return None if threads is None else max(1, threads // 2)
