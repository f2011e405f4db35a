"""The entries of the scheduler's queue, and which of them may share a batch."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..runtime.live.window import Window
from ..runtime.recordings.chunking import Chunk
from ..runtime.recordings.transcriber import Transcriber
from . import batches
from .streams import CaptionStream

Logits = NDArray[np.float32]
RANK = {"final": 0, "partial": 1}
"""The order of streams' windows: lower is run first."""


@dataclass(order=True)
class ChunkRun:
    """A chunk of a file; deadline: its place among other chunks, in seconds of the clock."""

    deadline: float
    number: int
    transcriber: Transcriber = field(compare=False)
    chunk: Chunk = field(compare=False)
    result: Future[Logits] = field(compare=False)


@dataclass
class Place:
    """A stream in the queue. busy: a lane is serving it. issued: windows that are made and not run yet."""

    stream: CaptionStream
    busy: bool = False
    due: str | None = None
    since: float = 0.0
    issued: deque[Window] = field(default_factory=deque)

    @property
    def rank(self) -> tuple[int, float] | None:
        """Its place in the order; None where it waits for nothing."""
        if self.busy or self.stream.over:
            return None
        if self.issued:
            return RANK["final" if self.issued[0].purpose == "final" else "partial"], self.since
        return None if self.due is None else (RANK[self.due], self.since)


def together(taken: list[tuple[CaptionStream, Window]], stream: CaptionStream, window: Window, most: float) -> bool:
    """Whether a stream's window may join a batch; most: samples of the padded batch."""
    first, other = taken[0]
    lengths = [each.end - each.start for _, each in taken]
    return (
        first.live.model is stream.live.model
        and other.stage == window.stage
        and batches.fits(lengths, window.end - window.start, most)
    )


def alike(runs: list[ChunkRun], run: ChunkRun, most: float) -> bool:
    """Whether a chunk may join a batch; most: samples of the padded batch."""
    first = runs[0]
    return (
        first.transcriber.model is run.transcriber.model
        and (first.chunk.loudness is None) == (run.chunk.loudness is None)
        and batches.fits([len(each.chunk.samples) for each in runs], len(run.chunk.samples), most)
    )
