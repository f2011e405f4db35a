"""From a recording to its transcript, on any engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..audio import read
from ..audio.loudness import Loudness, measure
from ..audio.read import AudioSource, Channel, RawFormat, Recording
from ..errors import AudioError, InputError
from ..heads import ctc
from ..model import Model
from ..text.transcript import Segment, Transcript
from .chunking import Chunk, Chunking, chunks
from .decoding import Decoding, WordDecoder
from .segmentation import Segmentation

if TYPE_CHECKING:
    from typing_extensions import Self

    from .batch import Result


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
        lanes: chunks that ``batch.transcribe_all`` runs at once, each with its share of the threads; ``batch.lanes``
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

    def __call__(
        self,
        source: AudioSource,
        sample_rate: int | None = None,
        *,
        channel: Channel = "mix",
        raw: RawFormat | None = None,
    ) -> Transcript:
        """Transcribe a file (its name, its bytes, or an open binary file) or samples.

        source: samples are [samples], [samples, channels] or [channels, samples], as array, tensor or list; integers
        are scaled by their type, floats are in [-1, 1]. sample_rate: Hz of samples, the model's where it is omitted; a
        file has its own, which must not be contradicted. channel, raw: see ``runtime.audio.read.open_recording``.

        The same samples give the same transcript, whatever file they came from. Raises AudioError for a recording
        that cannot be used.
        """
        recording = self.open_recording(source, sample_rate, channel=channel, raw=raw)
        decoding = self.decoding(recording)
        for chunk in self.chunks(recording):
            decoding.push(chunk, self.run([chunk])[0])
        return decoding.transcript()

    def stream(
        self,
        source: AudioSource,
        sample_rate: int | None = None,
        *,
        channel: Channel = "mix",
        raw: RawFormat | None = None,
    ) -> Iterator[Segment]:
        """Yield the segments of a recording, each as soon as it ends; the parameters and errors are those of a call."""
        recording = self.open_recording(source, sample_rate, channel=channel, raw=raw)
        decoding = self.decoding(recording)
        for chunk in self.chunks(recording):
            yield from decoding.push(chunk, self.run([chunk])[0])

    def batch(self, sources: Sequence[AudioSource], *, size: int = 1) -> list[Result]:
        """Transcribe recordings; each Result has its source and either a transcript or the error for it.

        size: chunks that are run as one padded batch, of one recording or of several, as a GPU wants them.
        ``batch.transcribe_all`` gives the results one by one as they come. Raises EngineError.
        """
        from .batch import transcribe_all

        return list(transcribe_all(self, sources, batch=size))

    def open_recording(
        self,
        source: AudioSource,
        sample_rate: int | None = None,
        *,
        channel: Channel = "mix",
        raw: RawFormat | None = None,
    ) -> Recording:
        """A recording at the model's rate; raises AudioError where it cannot be used."""
        return read.open_recording(source, self.spec.sample_rate, sample_rate=sample_rate, channel=channel, raw=raw)

    def chunks(self, recording: Recording) -> Iterator[Chunk]:
        """The chunks of a recording that are to be run one after the other; a short recording is one chunk.

        In a model that runs in stages the loudness of the whole recording normalises all chunks of a long one; else
        each chunk is normalised by itself, in the graph. Raises AudioError when it is too short for the model.
        """
        whole: Loudness | None = None
        for chunk in chunks(recording.blocks, self.spec, self.chunking):
            if len(chunk.samples) < self.spec.min_samples:
                raise AudioError(
                    f"{recording.name}: {len(chunk.samples)} samples at {self.spec.sample_rate} Hz; "
                    f"the model needs at least {self.spec.min_samples}"
                )
            if (chunk.first_frame == 0 and chunk.next_frame is None) or not self.model.runs_in_stages:
                yield chunk
                continue
            whole = whole or measure(recording.again())
            yield replace(chunk, loudness=whole)

    def run(self, found: Sequence[Chunk]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of chunks, run as one padded batch; all of them have a loudness, or none."""
        if found[0].loudness is None:
            return self.logits([chunk.samples for chunk in found])
        clips = [chunk.loudness.normalized(chunk.samples) for chunk in found if chunk.loudness is not None]
        return self._first(self.model.outputs_of_normalized(clips, self.options))

    def logits(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of clips [samples] at the model's rate, run as one padded batch."""
        return self._first(self.model.outputs(clips, self.options))

    def _first(self, rows: Sequence[Mapping[str, NDArray[Any]]]) -> list[NDArray[np.float32]]:
        name = self.spec.outputs[0].name
        return [np.asarray(row[name], dtype=np.float32) for row in rows]

    def decoding(self, recording: Recording | None = None) -> Decoding:
        """A decoding of one recording, to be fed with its chunks and their logits."""
        return Decoding(self.spec, self.decoder, self.segmentation, recording)

    def close(self) -> None:
        """Close the model."""
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
