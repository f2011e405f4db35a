"""From a recording to its transcript, on any engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import audio, choice, embedded, engines
from .bundle import Bundle
from .engines import EngineOptions, Session
from .errors import AudioError, InputError
from .heads import ctc
from .spec import OUTPUT_LENGTHS
from .transcript import Segment, Transcript


class Transcriber:
    """A loaded model that turns recordings into transcripts; use it as a context manager or call ``close``."""

    def __init__(self, bundle: Bundle, session: Session, engine: str, variant: str) -> None:
        """Use ``Transcriber.open``."""
        self.bundle = bundle
        self.spec = bundle.spec
        self.session = session
        self.engine = engine
        self.variant = variant

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle | None = None,
        engine: str | None = None,
        variant: str | None = None,
        *,
        threads: int | None = None,
    ) -> Transcriber:
        """Load a bundle (None: the embedded one) in an engine.

        Raises BundleError for a damaged bundle, EngineError when no engine runs it, InputError for a head that does
        not transcribe.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(embedded.bundle_path() if bundle is None else bundle)
        if bundle.spec.head != "ctc":
            raise InputError(f"{bundle.path}: its head is {bundle.spec.head}, which does not transcribe")
        name, chosen = choice.choose(bundle, engine, variant)
        session = engines.load(bundle, chosen, name, options=EngineOptions(threads=threads))
        return cls(bundle, session, name, chosen.name)

    def __call__(self, source: str | Path | NDArray[np.float32], sample_rate: int | None = None) -> Transcript:
        """Transcribe a file, or samples [samples] or [samples, channels] in [-1, 1] at ``sample_rate`` Hz.

        Raises AudioError for a recording that cannot be used.
        """
        if isinstance(source, (str, Path)):
            samples = audio.load(source, self.spec.sample_rate)
            name = str(source)
        else:
            samples = audio.prepare(source, sample_rate or self.spec.sample_rate, self.spec.sample_rate)
            name = "the samples"
        if len(samples) < self.spec.min_samples:
            raise AudioError(
                f"{name}: {len(samples)} samples at {self.spec.sample_rate} Hz; "
                f"the model needs at least {self.spec.min_samples}"
            )
        return self._transcript(self.logits([samples])[0], len(samples))

    def logits(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of clips [samples] at the model's rate, run as one padded batch."""
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        batch = np.zeros((len(clips), int(lengths.max())), dtype=np.float32)
        for row, clip in zip(batch, clips):
            row[: len(clip)] = clip
        outputs = self.session.run(engines.as_feeds(batch, lengths))
        return [
            np.asarray(values[:frames], dtype=np.float32)
            for values, frames in zip(outputs[self.spec.outputs[0].name], outputs[OUTPUT_LENGTHS])
        ]

    def _transcript(self, logits: NDArray[np.float32], samples: int) -> Transcript:
        words = tuple(ctc.greedy(logits, self.spec))
        text = " ".join(word.text for word in words)
        segments = (Segment(text, words[0].start, words[-1].end, words),) if words else ()
        return Transcript(text, samples / self.spec.sample_rate, words, segments, self.spec.language)

    def close(self) -> None:
        """Give back what the engine holds."""
        self.session.close()

    def __enter__(self) -> Transcriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
