"""A model ready to caption streams."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
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
        return LiveDecoder(self.transcriber.spec, self.vad(), self.settings, self._finish)

    def session(self, source: Source, record: Callable[[Block], None] | None = None) -> LiveSession:
        """Caption a source, which the caller closes; ``record`` gets every block of sound before it is decoded."""
        return LiveSession(self.decoder(), self.run, self.loop, source, record)

    def run(self, window: Window) -> engines.Arrays:
        """Run one window of a decoder."""
        return self.sessions[window.stage].run(window.feeds)

    def close(self) -> None:
        """Release the engine's sessions."""
        for session in self.sessions.values():
            session.close()

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
