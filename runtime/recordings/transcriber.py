"""From a recording to its transcript, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..audio import read
from ..audio.loudness import Meter, measure
from ..bundle.spec import ModelSpec
from ..errors import AudioError, InputError
from ..heads import ctc
from ..model import Model
from ..text.transcript import Segment, Transcript, Word
from .chunking import Chunking, Stitcher, Window, windows
from .segmentation import Segmentation, Segmenter, Span

if TYPE_CHECKING:
    from typing_extensions import Self

WordDecoder = Callable[[NDArray[np.float32], ModelSpec, int], list[Word]]
"""From logits [frames, labels], the spec and the absolute first frame to words: ctc.greedy, or a beam search."""

Blocks = Iterable[NDArray[np.float32]]
Source = str | Path | BinaryIO | NDArray[np.float32]


class Transcriber:
    """Turns recordings of any length into transcripts with a model whose head is CTC.

    Use it as a context manager or call ``close``, which closes the model too.
    """

    def __init__(
        self,
        model: Model,
        *,
        decoder: WordDecoder | None = None,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
        lanes: int = 1,
    ) -> None:
        """Load the model's graph, so that what is missing is raised here.

        decoder: how logits become words: greedy by default, language_model.BeamDecoder with a language model.
        chunking: how long recordings are cut; segmentation: where segments end.
        lanes: windows that ``batch.transcribe_all`` runs at once, each with its share of the threads; ``batch.lanes``
        says where that gains. One where the model has no number of threads, or its engine runs one at a time.
        Raises InputError for a head that does not transcribe, EngineError and BundleError as ``Model.session`` does.
        """
        if model.spec.head != "ctc":
            raise InputError(f"{model.bundle.path}: its head is {model.spec.head}, which does not transcribe")
        self.model = model
        self.spec = model.spec
        self.decoder = decoder or ctc.greedy
        self.chunking = chunking or Chunking()
        self.segmentation = segmentation or Segmentation()
        threads = model.options.threads
        self.lanes = max(1, min(lanes, threads or 1)) if engines.shares(model.engine) else 1
        self.options = replace(model.options, threads=threads if threads is None else max(1, threads // self.lanes))
        model.session("full", self.options)

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
        where the model does not run in stages: by itself.
        """
        meter, whole, heard = Meter(), None, 0
        for window in windows(blocks, self.spec, self.chunking):
            if len(window.samples) < self.spec.min_samples:
                raise AudioError(
                    f"{name}: {len(window.samples)} samples at {self.spec.sample_rate} Hz; "
                    f"the model needs at least {self.spec.min_samples}"
                )
            if (window.first_frame == 0 and window.next_frame is None) or not self.model.runs_in_stages:
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
        clips = [window.loudness.normalized(window.samples) for window in found if window.loudness is not None]
        return self._first(self.model.outputs_of_normalized(clips, self.options))

    def logits(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of clips [samples] at the model's rate, run as one padded batch."""
        return self._first(self.model.outputs(clips, self.options))

    def _first(self, rows: Sequence[Mapping[str, NDArray[Any]]]) -> list[NDArray[np.float32]]:
        name = self.spec.outputs[0].name
        return [np.asarray(row[name], dtype=np.float32) for row in rows]

    def decoding(self) -> Decoding:
        """A decoding of one recording, to be fed with its windows and their logits."""
        return Decoding(self.spec, self.decoder, self.segmentation)

    def close(self) -> None:
        """Close the model."""
        self.model.close()

    def __enter__(self) -> Self:
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
