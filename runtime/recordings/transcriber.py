"""From a recording to its transcript, on any engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .. import choice, engines
from ..audio import read
from ..audio.loudness import Meter, measure
from ..bundle import embedded
from ..bundle.read import Bundle
from ..bundle.spec import FEATURE_LENGTHS, FEATURES, INPUT_LENGTHS, NORMALIZED, OUTPUT_LENGTHS, ModelSpec
from ..engines import EngineOptions, Session
from ..errors import AudioError, InputError
from ..heads import ctc
from ..text.transcript import Segment, Transcript, Word
from .chunking import Chunking, Stitcher, Window, windows
from .segmentation import Segmentation, Segmenter, Span

if TYPE_CHECKING:
    from typing_extensions import Self

WordDecoder = Callable[[NDArray[np.float32], ModelSpec, int], list[Word]]
"""From logits [frames, labels], the spec and the absolute first frame to words: ctc.greedy, or a beam search."""

SMALL = 30_000_000
"""Bytes of a variant below which a CPU engine's own pool of memory gains no time: 559 MB with it were 375 without, for
two windows of 30 s at once. Larger models have tensors that the system would clear anew at each run."""

Blocks = Iterable[NDArray[np.float32]]
Source = str | Path | BinaryIO | NDArray[np.float32]


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
        options: EngineOptions | None = None,
        lanes: int = 1,
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
        self._options = options or EngineOptions()
        self.lanes = lanes
        self._halves: tuple[Session, Session] | None = None
        self._loading = threading.Lock()

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
        lanes: int = 1,
    ) -> Self:
        """Load a bundle (None: the embedded one) in an engine.

        What is left open is the same on every machine; ``wav2edge.Transcriber`` follows the machine's profile instead.
        decoder: how logits become words; greedy by default, language_model.BeamDecoder with a language model.
        chunking: how long recordings are cut; segmentation: where segments end.
        lanes: windows that ``batch.transcribe_all`` runs at once, each with its share of the threads; ``batch.lanes``
        says where that pays. Without a number of threads there is one.
        Raises BundleError for a damaged bundle, EngineError when no engine runs it, InputError for a head that does
        not transcribe.
        """
        bundle = embedded.resolve(bundle)
        if bundle.spec.head != "ctc":
            raise InputError(f"{bundle.path}: its head is {bundle.spec.head}, which does not transcribe")
        name, chosen = choice.choose(bundle, engine, variant)
        lanes = max(1, min(lanes, threads or 1)) if engines.shares(name) else 1
        options = EngineOptions(
            threads=threads if threads is None else max(1, threads // lanes), keep_memory=chosen.bytes > SMALL
        )
        session = engines.load(bundle, chosen, name, options=options)
        return cls(
            bundle,
            session,
            name,
            chosen.name,
            decoder=decoder or ctc.greedy,
            chunking=chunking,
            segmentation=segmentation,
            options=options,
            lanes=lanes,
        )

    def __call__(self, source: Source, sample_rate: int | None = None) -> Transcript:
        """Transcribe a file, or samples [samples] or [samples, channels] in [-1, 1] at ``sample_rate`` Hz.

        The same samples give the same transcript, whatever file they came from. Raises AudioError for a recording
        that cannot be used.
        """
        decoding = self.decoding()
        for window in self.windows(source, sample_rate):
            decoding.push(window, self.run([window])[0])
        return decoding.transcript()

    def windows(self, source: Source, sample_rate: int | None = None) -> Iterator[Window]:
        """The windows of a recording that are to be run one after the other; a short recording is one window."""
        blocks: Blocks
        if isinstance(source, np.ndarray):
            name = "the samples"
            rate = sample_rate or self.spec.sample_rate
            blocks = (read.prepare(source, rate, self.spec.sample_rate),)
            return self.cut(blocks, name, lambda: blocks)
        recording = self.open_recording(source)
        return self.cut(recording.blocks, recording.name, self.again(source))

    def open_recording(self, source: str | Path | BinaryIO) -> read.Recording:
        """A recording at the model's rate; raises AudioError where it cannot be used."""
        return read.open_recording(source, self.spec.sample_rate)

    def again(self, source: str | Path | BinaryIO) -> Callable[[], Blocks] | None:
        """How to read a recording's blocks once more; None for a stream, a named pipe included."""
        if isinstance(source, (str, Path)) and Path(source).is_file():
            return lambda: self.open_recording(source).blocks
        return None

    def cut(self, blocks: Blocks, name: str, again: Callable[[], Blocks] | None = None) -> Iterator[Window]:
        """The windows of a recording that comes in blocks; raises AudioError when it is too short for the model.

        again: gives the same blocks anew, for the loudness of the whole recording, which normalises all windows of a
        long one. Without it (a stream) a window is normalised by everything up to its end, and so is every window
        where the engine or the variant cannot run the stages apart: by itself.
        """
        meter, whole, heard = Meter(), None, 0
        for window in windows(blocks, self.spec, self.chunking):
            if len(window.samples) < self.spec.min_samples:
                raise AudioError(
                    f"{name}: {len(window.samples)} samples at {self.spec.sample_rate} Hz; "
                    f"the model needs at least {self.spec.min_samples}"
                )
            if (window.first_frame == 0 and window.next_frame is None) or not self._can_halve():
                yield window
                continue
            if again is None:
                start = window.first_frame * self.spec.stride
                meter.add(window.samples[heard - start :])
                heard = start + len(window.samples)
            elif whole is None:
                whole = measure(again())
            yield replace(window, loudness=whole or meter.loudness())

    def run(self, found: Sequence[Window]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of windows, run as one padded batch; all of them have a loudness, or none."""
        if found[0].loudness is None:
            return self.logits([window.samples for window in found])
        frontend, encoder = self._half_sessions()
        values = [window.loudness.normalized(window.samples) for window in found if window.loudness is not None]
        batch, lengths = _padded(values)
        features = frontend.run({NORMALIZED: batch, INPUT_LENGTHS: lengths})
        return self._rows(encoder.run({name: features[name] for name in (FEATURES, FEATURE_LENGTHS)}))

    def _can_halve(self) -> bool:
        """Whether the normalisation can be left to us: the graph has one, and the stages behind it can be run apart.

        An engine that compiles for minutes before it runs a stage is spared that.
        """
        graphs = self.bundle.variant(self.variant).graphs
        known = self.engine in engines.names() and not hasattr(engines.get(self.engine), "build")
        waveform = self.spec.normalize and self.spec.frontend == "waveform"
        return known and waveform and {"frontend", "encoder"} <= set(graphs)

    def _half_sessions(self) -> tuple[Session, Session]:
        with self._loading:
            if self._halves is None:
                variant = self.bundle.variant(self.variant)
                frontend = engines.load(self.bundle, variant, self.engine, "frontend", self._options)
                self._halves = frontend, engines.load(self.bundle, variant, self.engine, "encoder", self._options)
            return self._halves

    def logits(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of clips [samples] at the model's rate, run as one padded batch."""
        return self._rows(self.session.run(engines.as_feeds(*_padded(clips))))

    def _rows(self, outputs: engines.Arrays) -> list[NDArray[np.float32]]:
        return [
            np.asarray(values[:frames], dtype=np.float32)
            for values, frames in zip(outputs[self.spec.outputs[0].name], outputs[OUTPUT_LENGTHS])
        ]

    def decoding(self) -> Decoding:
        """A decoding of one recording, to be fed with its windows and their logits."""
        return Decoding(self.spec, self.decoder, self.segmentation)

    def close(self) -> None:
        """Give back what the engine holds."""
        for session in (self.session, *(self._halves or ())):
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _padded(clips: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clips [samples] as a batch [batch, samples] and their lengths [batch]."""
    lengths = np.array([len(clip) for clip in clips], dtype=np.int64)
    if len(clips) == 1:
        return clips[0][None], lengths
    batch = np.zeros((len(clips), int(lengths.max())), dtype=np.float32)
    for row, clip in zip(batch, clips):
        row[: len(clip)] = clip
    return batch, lengths


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
