"""A model ready to caption streams."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import choice, engines
from ..bundle import embedded
from ..bundle.read import Bundle
from ..bundle.spec import Stage
from ..engines import EngineOptions, Session
from ..errors import InputError
from ..model import Model
from ..recordings.decoding import WordDecoder
from ..recordings.transcriber import Transcriber
from ..text.transcript import Transcript
from .backlog import Block
from .decoder import LiveDecoder, decode
from .energy_gate import EnergyGate
from .features import can_keep
from .session import LiveSession
from .settings import LiveSettings, LoopSettings
from .silero import Silero
from .sources import Source
from .vad import VoiceActivityModel
from .window import Window


class LiveTranscriber:
    """A model ready to caption streams; ``wav2edge.live`` is the short way to one microphone."""

    def __init__(
        self,
        transcriber: Transcriber,
        settings: LiveSettings | None = None,
        *,
        loop: LoopSettings | None = None,
        vad: Callable[[], VoiceActivityModel] | None = None,
        threads: int | None = None,
    ) -> None:
        """Use a Transcriber (``close`` closes it); its language model and hot words shape the finals.

        vad: makes the voice activity model of one stream, which has a state (None: Silero's).
        threads: CPU threads for partials, of which they take half where features are kept: a window of few seconds
        costs less processor time on fewer threads, and a partial is less urgent than a final.
        Raises InputError when utterances could be longer than the transcriber's window, or hardly longer than their
        pre-roll, or features are to be kept and cannot be; EngineError without an engine for the speech detector.
        """
        self.transcriber = transcriber
        self.loop = loop or LoopSettings()
        self.vad = vad or _vad
        self.vad()  # fail now if it cannot be made
        self.sessions: dict[Stage, Session] = {"full": transcriber.model.session("full", transcriber.options)}
        settings = settings or LiveSettings()
        variant = transcriber.model.variant
        possible = can_keep(transcriber.spec) and {"frontend", "encoder"} <= set(variant.graphs)
        if settings.keep_features and not possible:
            path = transcriber.model.bundle.path
            raise InputError(f"{path}: {variant.name} has no frontend and encoder to keep features")
        exact = transcriber.spec.norm == "layer"
        keep = possible and (exact if settings.keep_features is None else settings.keep_features)
        self.settings = replace(settings, keep_features=keep)
        longest, pass_seconds = settings.endpoint.longest_utterance, transcriber.chunking.length
        if longest + 1.0 > pass_seconds:
            raise InputError(
                f"the longest utterance ({longest:g} s) must be 1 s shorter than one pass ({pass_seconds:g} s)"
            )
        shortest = settings.pre_roll + 2.0
        if longest < shortest:
            raise InputError(f"the longest utterance ({longest:g} s) must be {shortest:g} s or more, pre-roll included")
        stages: tuple[Stage, ...] = ("frontend", "encoder") if keep else ()
        for stage in stages:
            window = self.settings.window
            options = EngineOptions(threads=_half(threads), longest_seconds=longest, window_seconds=window)
            self.sessions[stage] = transcriber.model.session(stage, options)

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
        """Load a bundle (None: the embedded one); errors are those of Transcriber."""
        opened = embedded.resolve(bundle)
        name, chosen = choice.choose(opened, engine, variant)
        transcriber = Transcriber(Model(opened, name, chosen, EngineOptions(threads=threads)), decoder=decoder)
        return cls(transcriber, settings, loop=loop, threads=threads)

    def decoder(self) -> LiveDecoder:
        """A decoder for one stream of this model."""
        return LiveDecoder(self.transcriber.spec, self.vad(), self.settings, self._finish)

    def session(self, source: Source, record: Callable[[Block], None] | None = None) -> LiveSession:
        """Caption a source, which the caller closes; ``record`` gets every block of sound before it is decoded."""
        return LiveSession(self.decoder(), self.run, self.loop, source, record)

    def run(self, window: Window) -> engines.Arrays:
        """Run one window of a decoder."""
        return self.sessions[window.stage].run(window.feeds)

    def close(self) -> None:
        """Close the model, with every session of it."""
        self.transcriber.close()

    def __enter__(self) -> LiveTranscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, samples: NDArray[np.float32], logits: NDArray[np.float32]) -> Transcript:
        return decode(self.transcriber.decoding(), samples, logits)


def _vad() -> VoiceActivityModel:
    return EnergyGate(Silero())


def _half(threads: int | None) -> int:
    return max(1, (threads or os.cpu_count() or 1) // 2)
