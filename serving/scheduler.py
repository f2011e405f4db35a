"""One queue for all clients: the order of runs, their batches, and the assignment of outputs.

Every thread of the scheduler (a lane) does the same: it feeds streams the sound that they received, which may make a
final due, and otherwise runs the most urgent batch. The order: finals before partials, partials before chunks of files,
and among equals the one that has waited longest. A partial's window is made when it is run, so it covers all sound up
to then: a stream that waited costs one run, not many.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from ..runtime.engines import Arrays
from ..runtime.errors import EngineError
from ..runtime.live.sources import RATE
from ..runtime.live.window import Window
from ..runtime.recordings.chunking import Chunk
from ..runtime.recordings.transcriber import Transcriber
from . import batches
from .counts import Counts
from .streams import CaptionStream
from .waiting import RANK, ChunkRun, Logits, Place, alike, together

_log = logging.getLogger("wav2edge.serving")
_LOOKED_AT = 32  # streams whose windows are considered for one batch


@dataclass(frozen=True)
class SchedulerSettings:
    """How many batches run at once, and how large they are."""

    lanes: int = 1
    """Batches that run at the same time, each with its share of the threads; default 1."""

    batch_seconds: float = 0.0
    """Seconds of sound, padding included, that one batch may hold; 0 runs everything by itself. Default 0: on a CPU
    batches gain nothing (benchmarks/throughput.py); 60 suits a GPU."""


class Scheduler:
    """Runs the windows of streams and the chunks of files; use it as a context manager, or ``start`` and ``close``."""

    def __init__(self, settings: SchedulerSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start nothing yet."""
        self.settings = settings or SchedulerSettings()
        self.counts = Counts()
        self._clock = clock
        self._changed = threading.Condition()
        self._places: dict[CaptionStream, Place] = {}
        self._chunks: list[ChunkRun] = []
        self._numbers = itertools.count()
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the lanes."""
        for number in range(self.settings.lanes):
            thread = threading.Thread(target=self._work, name=f"wav2edge-lane-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop after the batches that are running; waiting runs fail with EngineError."""
        with self._changed:
            self._stopped = True
            chunks, self._chunks = self._chunks, []
            streams = list(self._places)
            self._places.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        error = EngineError("the server is stopping; try again later")
        for run in chunks:
            if run.result.set_running_or_notify_cancel():
                run.result.set_exception(error)
        for stream in streams:
            stream.fail(error)

    def __enter__(self) -> Scheduler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._places)

    @property
    def chunks_waiting(self) -> int:
        """How many chunks of files wait."""
        return len(self._chunks)

    def sound_waiting(self) -> float:
        """Seconds of sound that streams were sent and that is not decoded yet."""
        with self._changed:
            return sum(stream.waiting for stream in self._places)

    def load(self) -> float:
        """The share of the last seconds in which the lanes were computing, 0 to 1."""
        with self._changed:
            return self.counts.load(self._clock(), self.settings.lanes)

    def add(self, stream: CaptionStream) -> None:
        """Add a stream; it is removed when it is over."""
        with self._changed:
            if self._stopped:
                raise EngineError("the server is stopping; try again later")
            self._places[stream] = Place(stream)
            self._changed.notify_all()

    def wake(self, stream: CaptionStream) -> None:
        """Call after a stream was offered samples, was finished or cancelled."""
        with self._changed:
            if stream.over:
                self._places.pop(stream, None)
            self._changed.notify()

    def submit(self, transcriber: Transcriber, chunk: Chunk, deadline: float) -> Future[Logits]:
        """Run a chunk of a file; deadline: its place among other chunks, in seconds of the clock.

        The future gives the logits [frames, labels], and can be cancelled until the chunk runs.
        """
        run = ChunkRun(deadline, next(self._numbers), transcriber, chunk, Future())
        with self._changed:
            if self._stopped:
                raise EngineError("the server is stopping; try again later")
            heapq.heappush(self._chunks, run)
            self._changed.notify()
        return run.result

    def _work(self) -> None:
        while True:
            with self._changed:
                while (task := self._next()) is None:
                    if self._stopped:
                        return
                    self._changed.wait()
            task()

    def _next(self) -> Callable[[], None] | None:
        """What a lane does next, taken from the queue; the lock is held."""
        if self._stopped:
            return None
        for place in self._places.values():
            if not place.busy and place.stream.wants_service():
                place.busy = True
                return lambda: self._serve(place)
        ranked = [(rank, number, place) for number, place in enumerate(self._places.values()) if (rank := place.rank)]
        if ranked:
            ranked.sort()
            chosen = [place for _, _, place in ranked[: _LOOKED_AT if self._batches(ranked[0][2]) else 1]]
            for place in chosen:
                place.busy = True
            return lambda: self._run_windows(chosen)
        while self._chunks:
            if (task := self._chunk_batch()) is not None:
                return task
        return None

    def _serve(self, place: Place) -> None:
        stream = place.stream
        seen = len(stream.lags)
        try:
            stream.serve()
        except Exception as error:
            self._fail(stream, error)
        with self._changed:
            place.busy = False
            if stream.over:
                self._places.pop(stream, None)
            self.counts.lags.extend(itertools.islice(stream.lags, min(seen, len(stream.lags)), None))
            self._look(place)
            self._changed.notify_all()

    def _look(self, place: Place) -> None:
        """Check what is due for a stream; the lock is held and the stream is not being served."""
        due = place.stream.due()
        if due is not None and (place.due is None or RANK[due] < RANK[place.due]):
            place.since = self._clock()
        place.due = due

    def _batches(self, place: Place) -> bool:
        """Whether a stream's windows may run together with others."""
        return self.settings.batch_seconds > 0 and batches.batches(place.stream.live.model)

    def _taken(self, places: list[Place]) -> list[tuple[CaptionStream, Window]]:
        """A batch of the most urgent stream's window and of those like it; the lock is not held, for it computes."""
        taken: list[tuple[CaptionStream, Window]] = []
        waited: list[float] = []
        most = self.settings.batch_seconds * RATE
        for place in places:
            try:
                if not place.issued and (window := place.stream.issue()) is not None:
                    place.issued.append(window)
            except Exception as error:
                self._fail(place.stream, error)
                continue
            if place.issued and (not taken or together(taken, place.stream, place.issued[0], most)):
                taken.append((place.stream, place.issued.popleft()))
                waited.append(self._clock() - place.since)
                place.since = self._clock()
        with self._changed:
            self.counts.waits.extend(waited)
            for place in places:
                place.busy = False
                self._look(place)
            self._changed.notify_all()
        return taken

    def _run_windows(self, places: list[Place]) -> None:
        taken = self._taken(places)
        if not taken:
            return
        first, window = taken[0]
        model, options = first.live.model, first.live.options(window.stage)
        began = self._clock()
        try:
            outputs: Arrays = model.run(window.stage, batches.joined([each.feeds for _, each in taken]), options)
        except Exception as error:
            for stream, _ in taken:
                self._fail(stream, error)
            return
        seconds = self._clock() - began
        self._count(len(taken), seconds, sum(each.end - each.start for _, each in taken) / RATE)
        for (stream, each), rows in zip(taken, batches.parted(outputs, len(taken))):
            stream.deliver(each, rows, seconds / len(taken))

    def _chunk_batch(self) -> Callable[[], None] | None:
        runs: list[ChunkRun] = []
        passed: list[ChunkRun] = []
        most = self.settings.batch_seconds * RATE
        while self._chunks and len(passed) < _LOOKED_AT:
            run = heapq.heappop(self._chunks)
            if runs and not alike(runs, run, most):
                passed.append(run)
                continue
            if run.result.set_running_or_notify_cancel():
                runs.append(run)
            if runs and (most <= 0 or not batches.batches(run.transcriber.model)):
                break
        for run in passed:
            heapq.heappush(self._chunks, run)
        return (lambda: self._run_chunks(runs)) if runs else None

    def _run_chunks(self, runs: list[ChunkRun]) -> None:
        began = self._clock()
        try:
            results = runs[0].transcriber.run([run.chunk for run in runs])
        except Exception as error:
            self.counts.errors += 1
            for run in runs:
                run.result.set_exception(error)
            return
        rate = runs[0].transcriber.spec.sample_rate
        self._count(len(runs), self._clock() - began, sum(len(run.chunk.samples) for run in runs) / rate)
        for run, logits in zip(runs, results):
            run.result.set_result(logits)

    def _count(self, size: int, seconds: float, sound: float) -> None:
        with self._changed:
            self.counts.ran(size, seconds, sound, self._clock())

    def _fail(self, stream: CaptionStream, error: BaseException) -> None:
        self.counts.errors += 1
        _log.error("a stream failed: %s: %s", type(error).__name__, error)
        with self._changed:
            self._places.pop(stream, None)
        stream.fail(error)
