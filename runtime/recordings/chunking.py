"""Long recordings in chunks with context on both sides, stitched back on frames.

A chunk's first and last frames lack the sound beyond its ends, so neighbours overlap by twice the context, and the
seam is inside that overlap: in the longest run of frames that both chunks call blank, else in its middle. Chunks
start at whole strides, so that a frame has the same place in every chunk that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio.loudness import Loudness
from ..bundle.spec import ModelSpec
from ..errors import InputError

_CERTAIN = 20.0
"""The logit of the blank in a pause, that of every other label being 0: e^-20 of probability for each of them."""


@dataclass(frozen=True)
class Chunking:
    """How long recordings are cut; benchmarks/chunking.py prints how text depends on both, and gave the defaults."""

    length: float = 30.0
    """Seconds of audio that the model is given at once; a recording up to this long is run in one pass."""
    context: float = 2.0
    """Seconds at each inner end of a chunk that serve as context only."""

    @classmethod
    def suited(cls, spec: ModelSpec) -> Chunking:
        """The default for a model: chunks no longer than the clips that it was trained on, where its bundle says so."""
        longest = spec.trained_seconds or cls.length
        return cls(max(4 * cls.context, min(cls.length, longest)))

    def __post_init__(self) -> None:
        """Raises InputError for lengths that leave nothing to decode."""
        if not (self.context >= 0.1 and 4 * self.context <= self.length < float("inf")):
            raise InputError(
                f"chunks of {self.length:g} s with context {self.context:g} s: "
                "the context must be 0.1 s or more, and a chunk at least four times that, and finite"
            )


@dataclass(frozen=True)
class Chunk:
    """A stretch of a recording to be run at once."""

    samples: NDArray[np.float32]
    """[samples] at the model's rate."""
    first_frame: int
    """The frame of the recording at which it starts."""
    next_frame: int | None
    """The frame at which the next chunk starts; None in the last."""
    loudness: Loudness | None = None
    """What to normalise it by; None where the graph normalises it, as with a recording of one chunk."""
    rows: NDArray[np.int64] | None = None
    """Where each frame of ``samples`` belongs, counted from ``first_frame``; None where no pause was left out."""
    frames: int = 0
    """Its frames in the recording, pauses that were left out included; used only where there are ``rows``."""
    covered: int | None = None
    """The samples of the recording that it covers; None: those of ``samples``."""

    def with_pauses(self, logits: NDArray[np.float32], blank: int) -> NDArray[np.float32]:
        """Logits [frames, labels] of ``samples`` as logits of all frames that it covers; pauses are blank."""
        if self.rows is None:
            return logits
        whole = np.zeros((self.frames, logits.shape[1]), dtype=np.float32)
        whole[:, blank] = _CERTAIN
        whole[self.rows] = logits[: len(self.rows)]
        return whole


def chunks(blocks: Iterable[NDArray[np.float32]], spec: ModelSpec, chunking: Chunking) -> Iterator[Chunk]:
    """Cut a recording's blocks [samples] into chunks that overlap by twice the context.

    What remains after the last full chunks is shared evenly by two, so that no chunk is short of context. The cuts
    depend on the recording alone, not on how it came in blocks.
    """
    stride = spec.stride
    longest = max(1, int(chunking.length * spec.sample_rate) // stride) * stride
    overlap = max(1, int(2 * chunking.context * spec.sample_rate) // stride) * stride
    pending: list[NDArray[np.float32]] = []
    held = first = 0
    for block in blocks:
        pending.append(block)
        held += len(block)
        while held > 2 * longest - overlap:
            samples = np.concatenate(pending)
            following = first + (longest - overlap) // stride
            yield Chunk(samples[:longest], first, following)
            pending = [samples[longest - overlap :]]
            held = len(pending[0])
            first = following
    samples = np.concatenate(pending) if pending else np.zeros(0, np.float32)
    if held > longest:
        half = -(-(held + overlap) // (2 * stride)) * stride
        following = first + (half - overlap) // stride
        yield Chunk(samples[:half], first, following)
        samples = samples[half - overlap :]
        first = following
    yield Chunk(samples, first, None)


class Stitcher:
    """Joins the logits of successive chunks into the recording's frames."""

    def __init__(self, blank: int) -> None:
        """``blank``: the index of CTC's blank."""
        self._blank = blank
        self._held: NDArray[np.float32] | None = None

    def push(self, chunk: Chunk, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a chunk's logits [frames, labels]; returns the frames that are now settled, in order."""
        held, start = self._held, 0
        settled: list[NDArray[np.float32]] = []
        end = len(logits) if chunk.next_frame is None else chunk.next_frame - chunk.first_frame
        if held is not None:
            # With the widest contexts the next chunk may begin within this overlap, in its second half.
            start = min(seam(held, logits, self._blank), end)
            settled.append(held[:start])
        settled.append(logits[start:end])
        self._held = None if chunk.next_frame is None else logits[end:]
        return np.concatenate(settled)


def seam(before: NDArray[np.float32], after: NDArray[np.float32], blank: int) -> int:
    """Where to pass from one chunk to the next: an index into the frames that both hold.

    before: the end of the earlier chunk's logits; after: the later chunk's, of which the first ``len(before)`` rows
    are the same frames. The seam stays in the middle half of the overlap, where both chunks have context.
    """
    overlap = min(len(before), len(after))
    low, high = overlap // 4, overlap - overlap // 4
    middle = overlap // 2
    silent = (before[low:high].argmax(axis=1) == blank) & (after[low:high].argmax(axis=1) == blank)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], silent.astype(np.int8), [0]))))
    if len(edges) == 0:
        return middle
    starts, ends = edges[::2] + low, edges[1::2] + low
    centres = (starts + ends) // 2
    best = np.lexsort((np.abs(centres - middle), starts - ends))[0]
    return int(centres[best])
