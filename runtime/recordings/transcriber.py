"""From a recording to its transcript, on any engine."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..audio.read import AudioSource, Channel, RawFormat, Recording
from ..errors import AudioError, InputError
from ..heads import ctc
from ..model import Model
from ..text.transcript import Segment, Transcript
from .chunking import Chunk, Chunking
from .decoding import Decoding, WordDecoder
from .pauses import Pauses, survey, without_pauses
from .runner import Runner
from .segmentation import Segmentation

if TYPE_CHECKING:
    from .batch import Result


class Transcriber(Runner[Transcript]):
    """Turns recordings of any length into transcripts with a model whose head is CTC.

    Use it as a context manager or call ``close``, which closes the model too.
    """

    heads = ("ctc",)
    does = "transcribe"

    def __init__(
        self,
        model: Model,
        *,
        decoder: WordDecoder | None = None,
        chunking: Chunking | None = None,
        segmentation: Segmentation | None = None,
        lanes: int = 1,
        skip_silence: bool = False,
    ) -> None:
        """Load the model's graph, so that what is missing is raised here.

        decoder: how logits become words: greedy by default, language_model.BeamDecoder with a language model.
        chunking: how long recordings are cut; segmentation: where segments end.
        lanes: chunks that ``batch.transcribe_all`` runs at once, each with its share of the threads; ``batch.lanes``
        says where that is faster. It is one where the model's number of threads is not set or its engine runs one at a
        time.
        skip_silence: run recordings without their pauses, which are decoded as silence (``pauses`` says what a pause
        is); default False. It needs a model that runs in stages; others run everything.
        Raises InputError for a head that does not transcribe, EngineError and BundleError as ``Model.session`` does.
        """
        super().__init__(model, chunking, lanes)
        self.skip_silence = skip_silence
        self.segmentation = segmentation or Segmentation()
        self.decoder = decoder or ctc.Greedy(self.segmentation.word_gap)

    def chunks(self, recording: Recording) -> Iterator[Chunk]:
        """The chunks of a recording, without its pauses where they are to be left out; see ``Runner.chunks``."""
        shortest = self.chunking.length
        fits = self.skip_silence and self.model.runs_in_stages and not any(s.padding for s in self.spec.time)
        if fits and (recording.seconds is None or recording.seconds > shortest):
            known = survey(recording.again(), self.spec.stride)
            if known.samples > shortest * self.spec.sample_rate:
                for chunk in without_pauses(recording.blocks, known, self.spec, self.chunking, Pauses()):
                    yield replace(chunk, loudness=known.loudness)
                return
        yield from super().chunks(recording)

    def result(self, recording: Recording) -> Transcript:
        """The transcript of an opened recording; raises AudioError where it cannot be used."""
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
        """Yield the segments of a recording, each as soon as it ends; the parameters and errors are those of a call.

        Raises AudioError, after the last segment, where the recording is damaged or cut short.
        """
        recording = self.open_recording(source, sample_rate, channel=channel, raw=raw)
        decoding = self.decoding(recording)
        for chunk in self.chunks(recording):
            yield from decoding.push(chunk, self.run([chunk])[0])
        if not recording.complete:
            raise AudioError(f"{recording.name}: {recording.warnings[0]}")

    def batch(self, sources: Sequence[AudioSource], *, size: int = 1) -> list[Result]:
        """Transcribe recordings; each Result has its source and either a transcript or the error for it.

        size: chunks that are run as one padded batch, of one recording or of several, as a GPU wants them.
        ``batch.transcribe_all`` gives the results one by one as they come. Raises EngineError, and InputError where
        ``sources`` is one recording.
        """
        from .batch import transcribe_all

        if _is_one(sources):
            raise InputError("batch takes a list of recordings, and this is one; call the transcriber with it")
        if size < 1:
            raise InputError(f"size={size}: give 1 chunk or more")
        return list(transcribe_all(self, sources, batch=size))

    def run(self, chunks: Sequence[Chunk]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of chunks, run as one padded batch; all of them have a loudness, or none."""
        name = self.spec.outputs[0].name
        rows = [np.asarray(row[name], dtype=np.float32) for row in self.outputs(chunks)]
        return [chunk.with_pauses(row, self.spec.blank or 0) for chunk, row in zip(chunks, rows)]

    def logits(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The logits [frames, labels] of clips [samples] at the model's rate, run as one padded batch."""
        return self.model.logits(clips, self.options)

    def decoding(self, recording: Recording | None = None) -> Decoding:
        """A decoding of one recording, to be fed with its chunks and their logits."""
        return Decoding(self.spec, self.decoder, self.segmentation, recording)


def _is_one(sources: object) -> bool:
    """Whether it is one recording and not a list of them: its name, bytes, an open file, or samples."""
    if isinstance(sources, (str, bytes, bytearray, memoryview, os.PathLike, Mapping)) or hasattr(sources, "read"):
        return True
    if isinstance(sources, Sequence):
        return len(sources) > 0 and isinstance(sources[0], numbers.Real)
    kind = getattr(getattr(sources, "dtype", None), "kind", "f")
    return getattr(sources, "ndim", 2) < 2 and kind in "biufc"  # an array of names is a list
