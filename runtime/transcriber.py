"""From a recording to its transcript, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from . import audio, choice, embedded, engines
from .bundle import Bundle
from .chunking import Chunking, Stitcher, Window, windows
from .engines import EngineOptions, Session
from .errors import AudioError, InputError
from .heads import ctc
from .segmentation import Segmentation, Segmenter, Span
from .spec import OUTPUT_LENGTHS, ModelSpec
from .transcript import Segment, Transcript, Word

WordDecoder = Callable[[NDArray[np.float32], ModelSpec, int], list[Word]]
"""From logits [frames, labels], the spec and the absolute first frame to words: ctc.greedy, or a beam search."""


class Transcriber:
    """A loaded model that turns recordings into transcripts; use it as a context manager or call ``close``."""

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        engine: str,
        variant: str,
        *,
        decoder: WordDecoder = ctc.greedy,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
    ) -> None:
        """Use ``Transcriber.open``."""
        self.bundle = bundle
        self.spec = bundle.spec
        self.session = session
        self.engine = engine
        self.variant = variant
        self.decoder = decoder
        self.chunking = chunking or Chunking()
        self.segmentation = segmentation or Segmentation()

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle | None = None,
        engine: str | None = None,
        variant: str | None = None,
        *,
        threads: int | None = None,
        decoder: WordDecoder | None = None,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
    ) -> Transcriber:
        """Load a bundle (None: the embedded one) in an engine.

        decoder: how logits become words; greedy by default, language_model.BeamDecoder with a language model.
        chunking: how long recordings are cut; segmentation: where segments end.
        Raises BundleError for a damaged bundle, EngineError when no engine runs it, InputError for a head that does
        not transcribe.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(embedded.bundle_path() if bundle is None else bundle)
        if bundle.spec.head != "ctc":
            raise InputError(f"{bundle.path}: its head is {bundle.spec.head}, which does not transcribe")
        name, chosen = choice.choose(bundle, engine, variant)
        session = engines.load(bundle, chosen, name, options=EngineOptions(threads=threads))
        return cls(
            bundle,
            session,
            name,
            chosen.name,
            decoder=decoder or ctc.greedy,
            chunking=chunking,
            segmentation=segmentation,
        )

    def __call__(
        self, source: str | Path | BinaryIO | NDArray[np.float32], sample_rate: int | None = None
    ) -> Transcript:
        """Transcribe a file, or samples [samples] or [samples, channels] in [-1, 1] at ``sample_rate`` Hz.

        The same samples give the same transcript, whatever file they came from. Raises AudioError for a recording
        that cannot be used.
        """
        decoding = self.decoding()
        for window in self.windows(source, sample_rate):
            decoding.push(window, self.logits([window.samples])[0])
        return decoding.transcript()

    def windows(
        self, source: str | Path | BinaryIO | NDArray[np.float32], sample_rate: int | None = None
    ) -> Iterator[Window]:
        """The windows of a recording that are to be run one after the other; a short recording is one window."""
        blocks: Iterable[NDArray[np.float32]]
        if isinstance(source, np.ndarray):
            name = "the samples"
            rate = sample_rate or self.spec.sample_rate
            blocks = (audio.prepare(source, rate, self.spec.sample_rate),)
        else:
            recording = audio.open_recording(source, self.spec.sample_rate)
            name, blocks = recording.name, recording.blocks
        return self.cut(blocks, name)

    def cut(self, blocks: Iterable[NDArray[np.float32]], name: str) -> Iterator[Window]:
        """The windows of a recording that comes in blocks; raises AudioError when it is too short for the model."""
        for window in windows(blocks, self.spec, self.chunking):
            if len(window.samples) < self.spec.min_samples:
                raise AudioError(
                    f"{name}: {len(window.samples)} samples at {self.spec.sample_rate} Hz; "
                    f"the model needs at least {self.spec.min_samples}"
                )
            yield window

    def logits(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of clips [samples] at the model's rate, run as one padded batch."""
        lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
        if len(clips) == 1:
            batch = clips[0][None]
        else:
            batch = np.zeros((len(clips), int(lengths.max())), dtype=np.float32)
            for row, clip in zip(batch, clips):
                row[: len(clip)] = clip
        outputs = self.session.run(engines.as_feeds(batch, lengths))
        return [
            np.asarray(values[:frames], dtype=np.float32)
            for values, frames in zip(outputs[self.spec.outputs[0].name], outputs[OUTPUT_LENGTHS])
        ]

    def decoding(self) -> Decoding:
        """A decoding of one recording, to be fed with its windows and their logits."""
        return Decoding(self.spec, self.decoder, self.segmentation)

    def close(self) -> None:
        """Give back what the engine holds."""
        self.session.close()

    def __enter__(self) -> Transcriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Decoding:
    """One recording on its way from logits to segments; ``Transcriber.decoding`` makes one."""

    def __init__(self, spec: ModelSpec, decoder: WordDecoder, segmentation: Segmentation) -> None:
        """Prepare for one recording."""
        assert spec.blank is not None
        self.samples = 0
        self._spec = spec
        self._decoder = decoder
        self._stitcher = Stitcher(spec.blank)
        self._segmenter = Segmenter(spec, segmentation)
        self._segments: list[Segment] = []

    @property
    def seconds(self) -> float:
        """How much of the recording was taken in."""
        return self.samples / self._spec.sample_rate

    def push(self, window: Window, logits: NDArray[np.float32]) -> list[Segment]:
        """Take the next window and its logits [frames, labels]; returns the segments that are complete now."""
        self.samples = window.first_frame * self._spec.stride + len(window.samples)
        spans = self._segmenter.push(self._stitcher.push(window, logits))
        if window.next_frame is None:
            spans += self._segmenter.finish()
        found = [segment for span in spans if (segment := self._segment(span)) is not None]
        self._segments += found
        return found

    def transcript(self) -> Transcript:
        """Everything so far; the whole recording once its last window was pushed."""
        words = tuple(word for segment in self._segments for word in segment.words)
        return Transcript(
            ctc.joined(words, self._spec), self.seconds, words, tuple(self._segments), self._spec.language
        )

    def _segment(self, span: Span) -> Segment | None:
        words = tuple(self._decoder(span.logits, self._spec, span.first_frame))
        if not words:
            return None
        return Segment(ctc.joined(words, self._spec), words[0].start, words[-1].end, words)
