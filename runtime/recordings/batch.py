"""Many recordings in order, with the next ones read while the engine runs.

On a CPU padded batches gain nothing (benchmarks/throughput.py prints the figures), so chunks run one by one unless the
caller asks for batches, which a GPU needs. Padding never changes a recording's text (the graph contract); chunks of a
variant whose texts would depend on the batch (``Variant.batches``) run one by one whatever is asked for. A small model
does gain from lanes: two chunks at once on half of the threads each. Its operators are so short that threads which
share one spend most of the time waiting for each other.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..audio import read
from ..audio.channels import Channel
from ..audio.read import AudioSource, Recording
from ..bundle.read import Variant
from ..errors import InputError
from ..model import SMALL_BYTES
from ..text.transcript import Segment, Transcript
from .chunking import Chunk, Chunking
from .transcriber import Transcriber

Item = TypeVar("Item")

PREFETCHED = 4
"""Chunks that wait for the engine: enough to hide the decoding of short files, 8 MB at 30 s each."""

LANES = 2
"""More at once would take more memory, and two already overlap the work between chunks."""

_ALIKE = 1.25
"""Chunks whose lengths differ by more than this are not padded to one batch."""

_PATIENCE = 0.5
"""Seconds to wait for the reading thread at the end; one that waits for a pipe without a writer is abandoned."""


@dataclass(frozen=True)
class Result:
    """The transcript of one recording, or the error why there is none."""

    source: AudioSource
    transcript: Transcript | None = None
    error: InputError | None = None
    channel: Channel = "mix"
    """Which channel of the source it is, where one was chosen."""


@dataclass(frozen=True)
class _Opened:
    source: AudioSource
    recording: Recording


@dataclass(frozen=True)
class _Cut:
    source: AudioSource
    chunk: Chunk


_Step = Result | _Opened | _Cut


def lanes(engine: str, variant: Variant, sources: Sequence[AudioSource], chunking: Chunking | None = None) -> int:
    """How many chunks to run at once on a CPU: more than one where the model is small and there is enough to run.

    benchmarks/throughput.py prints what they gain with the embedded model; a base one (378 MB) lost 2 % and took twice
    the memory. A single recording counts as enough when its header announces more than two chunks.
    """
    if not engines.shares(engine) or variant.bytes > SMALL_BYTES or not sources:
        return 1
    if len(sources) > 1:
        return LANES
    if not isinstance(sources[0], (str, Path)) or not Path(sources[0]).is_file():  # a pipe can be read only once
        return 1
    try:
        seconds = read.open_recording(sources[0]).seconds
    except InputError:  # transcribe_all reports it
        return 1
    return LANES if seconds is not None and seconds > 2 * (chunking or Chunking()).length else 1


def transcribe_all(
    transcriber: Transcriber,
    sources: Sequence[AudioSource],
    *,
    batch: int = 1,
    on_segment: Callable[[AudioSource, Segment], None] | None = None,
    on_progress: Callable[[AudioSource, float, float | None], None] | None = None,
    opened: Callable[[AudioSource], Iterable[Recording]] | None = None,
) -> Generator[Result, None, None]:
    """Transcribe recordings in order; one that cannot be used gives a Result with its error, and the next follows.

    batch: chunks that are run as one batch, of one recording or of several; otherwise each runs by itself, as many at
    once as the transcriber has lanes. on_segment: called with each segment as soon as it is complete. on_progress:
    called with the seconds that are done and the recording's length where it is known. opened: turns a source into one
    recording, or several with a Result each, such as its channels (None: ``transcriber.open_recording``). Engine errors
    are raised.
    """
    decoding = transcriber.decoding()
    seconds: float | None = None
    channel: Channel = "mix"
    steps = _read(transcriber, sources, opened or (lambda source: (transcriber.open_recording(source),)))
    with contextlib.closing(_with_logits(transcriber, steps, batch)) as found:
        for step, logits in found:
            if isinstance(step, Result):
                yield step
            elif isinstance(step, _Opened):
                decoding, seconds = transcriber.decoding(step.recording), step.recording.seconds
                channel = step.recording.channel
            elif logits is not None:
                for segment in decoding.push(step.chunk, logits):
                    if on_segment is not None:
                        on_segment(step.source, segment)
                if on_progress is not None:
                    on_progress(step.source, decoding.seconds, seconds)
                if step.chunk.next_frame is None:
                    yield Result(step.source, decoding.transcript(), channel=channel)


def _read(
    transcriber: Transcriber,
    sources: Iterable[AudioSource],
    opened: Callable[[AudioSource], Iterable[Recording]],
) -> Iterator[_Step]:
    for source in sources:
        try:
            for recording in opened(source):
                yield _Opened(source, recording)
                for chunk in transcriber.chunks(recording):
                    yield _Cut(source, chunk)
        except InputError as error:
            yield Result(source, error=error)


def _with_logits(
    transcriber: Transcriber, steps: Iterator[_Step], batch: int
) -> Generator[tuple[_Step, NDArray[np.float32] | None], None, None]:
    """The steps in order, each chunk with its logits."""
    if transcriber.lanes == 1 or batch > 1:
        with Prefetcher(steps, max(PREFETCHED, 2 * batch)) as prefetched:
            yield from _run(transcriber, prefetched, batch)
        return
    pool = ThreadPoolExecutor(transcriber.lanes, "wav2edge-lane")
    try:
        with Prefetcher(_started(transcriber, steps, pool), max(PREFETCHED, 2 * transcriber.lanes)) as started:
            for step, running in started:
                yield step, running.result() if running is not None else None
    finally:
        pool.shutdown(cancel_futures=True)


def _started(
    transcriber: Transcriber, steps: Iterable[_Step], pool: ThreadPoolExecutor
) -> Iterator[tuple[_Step, Future[NDArray[np.float32]] | None]]:
    """The steps, each chunk already submitted to the lanes."""
    for step in steps:
        yield step, pool.submit(_one, transcriber, step.chunk) if isinstance(step, _Cut) else None


def _one(transcriber: Transcriber, chunk: Chunk) -> NDArray[np.float32]:
    return transcriber.run([chunk])[0]


def _run(
    transcriber: Transcriber, steps: Iterable[_Step], batch: int
) -> Iterator[tuple[_Step, NDArray[np.float32] | None]]:
    """The steps in order, each chunk with its logits."""
    waiting: list[_Step] = []
    count = 0
    for step in steps:
        waiting.append(step)
        count += isinstance(step, _Cut)
        if count == batch or not count:
            yield from _run_together(transcriber, waiting)
            waiting, count = [], 0
    yield from _run_together(transcriber, waiting)


def _run_together(
    transcriber: Transcriber, steps: Sequence[_Step]
) -> Iterator[tuple[_Step, NDArray[np.float32] | None]]:
    """Run the chunks among some steps in as few batches as their lengths allow."""
    cuts = {index: step.chunk for index, step in enumerate(steps) if isinstance(step, _Cut)}
    groups: list[list[int]] = []

    def kind(index: int) -> tuple[bool, int]:
        return cuts[index].loudness is None, len(cuts[index].samples)

    for index in sorted(cuts, key=kind):
        first = kind(groups[-1][0]) if groups else None
        if first is not None and kind(index)[0] == first[0] and kind(index)[1] <= _ALIKE * first[1]:
            groups[-1].append(index)
        else:
            groups.append([index])
    found: dict[int, NDArray[np.float32]] = {}
    for group in groups:
        found.update(zip(group, transcriber.run([cuts[index] for index in group])))
    for index, step in enumerate(steps):
        yield step, found.get(index)


class Prefetcher(Iterable[Item]):
    """Runs an iterator in a thread, at most ``depth`` items ahead of its consumer; use it in a ``with``."""

    def __init__(self, items: Iterable[Item], depth: int) -> None:
        """Start nothing yet; the thread starts with the ``with`` block and ends with it."""
        self._items = items
        self._queue: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="wav2edge-prefetch", daemon=True)

    def __enter__(self) -> Prefetcher[Item]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        deadline = time.monotonic() + _PATIENCE
        while self._thread.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.02)

    def __iter__(self) -> Iterator[Item]:
        """The items in order; an exception of the iterator is raised here."""
        while True:
            item, error = self._queue.get()
            if error is not None:
                if isinstance(error, StopIteration):
                    return
                raise error
            yield item  # type: ignore[misc]

    def _fill(self) -> None:
        try:
            for item in self._items:
                self._queue.put((item, None))
                if self._stopped.is_set():
                    return
            self._queue.put((None, StopIteration()))
        except BaseException as error:  # raised in the consuming thread
            self._queue.put((None, error))
