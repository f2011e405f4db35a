"""The entries of the scheduler's queue, and which of them may share a batch."""

from __future__ import annotations

import heapq
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
RANK = {"final": 0, "partial": 1, "ahead": 2}
"""The order of streams' windows: lower is run first."""

LOOKED_AT = 32
"""Streams whose windows are considered for one batch, and chunks that are passed over."""


@dataclass(order=True)
class ChunkRun:
    """A chunk of a file; deadline: its place among other chunks, in seconds of the clock."""

    deadline: float
    number: int
    transcriber: Transcriber = field(compare=False)
    chunk: Chunk = field(compare=False)
    result: Future[Logits] = field(compare=False)


@dataclass(eq=False)
class Place:
    """A stream in the queue.

    busy: a lane is serving it. fed: it has sound or its end to process. issued: windows that are made and not run yet.
    """

    stream: CaptionStream
    busy: bool = False
    fed: bool = False
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


class ChunkQueue:
    """The chunks of files that wait, the earliest deadline first; the scheduler's lock guards it."""

    def __init__(self) -> None:
        """Begin empty."""
        self.waiting: list[ChunkRun] = []

    def add(self, run: ChunkRun) -> None:
        """Add a chunk."""
        heapq.heappush(self.waiting, run)

    def take(self, most: float) -> list[ChunkRun]:
        """The next batch, whose chunks can no longer be cancelled; most: samples of it, 0 for one chunk alone."""
        runs: list[ChunkRun] = []
        passed: list[ChunkRun] = []
        while self.waiting and len(passed) < LOOKED_AT:
            run = heapq.heappop(self.waiting)
            if runs and not alike(runs, run, most):
                passed.append(run)
                continue
            if run.result.set_running_or_notify_cancel():
                runs.append(run)
            if runs and (most <= 0 or not run.transcriber.model.variant.batches):
                break
        for run in passed:
            heapq.heappush(self.waiting, run)
        return runs


def together(taken: list[tuple[Place, Window]], stream: CaptionStream, window: Window, most: float) -> bool:
    """Whether a stream's window may join a batch; most: samples of the padded batch."""
    first, other = taken[0]
    lengths = [each.end - each.start for _, each in taken]
    return (
        first.stream.live.model is stream.live.model
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
