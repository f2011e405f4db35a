"""Run recordings of any length through a model, in chunks: the part that all heads share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..audio import read
from ..audio.loudness import Loudness, measure
from ..audio.read import AudioSource, Channel, RawFormat, Recording
from ..errors import AudioError, InputError
from ..model import Model
from .chunking import Chunk, Chunking, chunks

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
"""What a recording becomes."""

Outputs = dict[str, NDArray[np.generic]]
"""The outputs of one chunk by name, without the batch axis."""


class Runner(Generic[T]):
    """Runs recordings through a model, chunk by chunk; use it as a context manager or call ``close``.

    A subclass names the heads that it is for and makes a result of the chunks' outputs.
    """

    heads: ClassVar[tuple[str, ...]] = ()
    """The heads that it is for."""
    does: ClassVar[str] = "run"
    """The verb of its error message: "its head is xvector, which does not transcribe"."""

    def __init__(self, model: Model, chunking: Chunking | None = None, lanes: int = 1) -> None:
        """Load the model's graph, so that what is missing is raised here; chunking: None for what suits the model.

        Raises InputError for a head that this is not for and for no lanes, EngineError and BundleError as
        ``Model.session`` does.
        """
        if model.spec.head not in self.heads:
            made_for = _made_for(model.spec.head)
            raise InputError(
                f"{model.bundle.path}: its head is {model.spec.head}, which does not {self.does}"
                + (f"; use it to {made_for}" if made_for else "")
            )
        if lanes < 1:
            raise InputError(f"lanes={lanes}: give 1 or more")
        self.model = model
        self.spec = model.spec
        self.chunking = chunking or Chunking.suited(self.spec)
        threads = model.options.threads
        self.lanes = max(1, min(lanes, threads or 1)) if engines.shares(model.engine) else 1
        self.options = replace(model.options, threads=threads if threads is None else max(1, threads // self.lanes))
        model.prepare("full", self.options)

    @overload
    def __call__(
        self,
        source: AudioSource,
        sample_rate: int | None = None,
        *,
        channel: Channel = "mix",
        raw: RawFormat | None = None,
    ) -> T: ...

    @overload
    def __call__(
        self,
        source: AudioSource,
        sample_rate: int | None = None,
        *,
        channel: Literal["each"],
        raw: RawFormat | None = None,
    ) -> list[T]: ...

    def __call__(
        self,
        source: AudioSource,
        sample_rate: int | None = None,
        *,
        channel: Channel | Literal["each"] = "mix",
        raw: RawFormat | None = None,
    ) -> T | list[T]:
        """Run a file (its name, its bytes, or an open binary file) or samples.

        source: samples are [samples], [samples, channels] or [channels, samples], as array, tensor or list; integers
        are scaled by their type, floats are in [-1, 1]. sample_rate: Hz of samples, the model's where it is omitted; it
        must not contradict a file's. channel, raw: see ``runtime.audio.read.open_recording``; with
        the channel ``each`` every channel is run for itself, and the result is a list of theirs, in order.

        The same samples give the same result, whatever file they came from. Raises AudioError for a recording that
        cannot be used.
        """
        if channel == "each":
            return [
                self.result(recording)
                for recording in read.open_channels(source, self.spec.sample_rate, sample_rate=sample_rate, raw=raw)
            ]
        return self.result(self.open_recording(source, sample_rate, channel=channel, raw=raw))

    def result(self, recording: Recording) -> T:
        """The result for an opened recording; raises AudioError where it cannot be used."""
        raise NotImplementedError

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

    def outputs(self, chunks: Sequence[Chunk]) -> list[Outputs]:
        """Every output of chunks, run as one padded batch; all of them have a loudness, or none. Raises EngineError."""
        rows = self._outputs(chunks)
        for row in rows:
            engines.checked(np.asarray(row[self.spec.outputs[0].name], dtype=np.float32))
        return rows

    def _outputs(self, chunks: Sequence[Chunk]) -> list[Outputs]:
        if chunks[0].loudness is None:
            return self.model.outputs([chunk.samples for chunk in chunks], self.options)
        clips = [chunk.loudness.normalized(chunk.samples) for chunk in chunks if chunk.loudness is not None]
        return self.model.outputs_of_normalized(clips, self.options)

    def close(self) -> None:
        """Close the model."""
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _made_for(head: str) -> str | None:
    """What a head does, in the words of the class that it is for."""
    from . import heads, transcriber

    classes = (transcriber.Transcriber, heads.Classifier, heads.Regressor, heads.FrameClassifier, heads.Embedder)
    return next((each.does for each in classes if head in each.heads), None)
