"""One queue for all clients: the order of runs, their batches, and the assignment of outputs.

Every thread of the scheduler (a lane) does the same: it feeds streams the sound that they received, which may make a
final due, and otherwise runs the most urgent batch. Sound is gathered for some milliseconds, so that the speech
detectors of many streams run together. The order: finals before partials, partials before final passes of utterances
that may not be over, these before chunks of files, and among equals the one that has waited longest. A partial's window
is made when it is run, so it covers all sound up to then: a stream that waited costs one run, not many, and one with
less context.
"""

from __future__ import annotations

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
from ..runtime.live.voices import Voices
from ..runtime.live.window import Window
from ..runtime.recordings.chunking import Chunk
from ..runtime.recordings.transcriber import Transcriber
from . import batches
from .counts import Counts
from .streams import CaptionStream
from .waiting import LOOKED_AT, RANK, ChunkQueue, ChunkRun, Logits, Place, together

_log = logging.getLogger("wav2edge.serving")
_GATHER = 1e-3  # s for which sound is gathered, for each stream: what feeding one costs, so few are not delayed
_GATHER_MOST = 0.06  # s; messages of 0.1 s are usual, and a lag of half a second is noticed
_BEHIND = 0.075  # s that a partial waits, from which its window gets less context: a little more than sound is gathered


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
        self._fed: list[Place] = []
        self._feeding = False  # one lane at a time, so that batches are large
        self._feed_at = 0.0  # when to feed next, by the clock
        self._voices = Voices()
        self._chunks = ChunkQueue()
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
            chunks, self._chunks = self._chunks.waiting, ChunkQueue()
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
        return len(self._chunks.waiting)

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
            self._note_fed(self._places[stream])

    def wake(self, stream: CaptionStream) -> None:
        """Call after a stream was offered samples, was finished or cancelled."""
        with self._changed:
            place = self._places.get(stream)
            if place is None:
                return
            if stream.over:
                del self._places[stream]
            elif not place.fed:
                self._note_fed(place)

    def submit(self, transcriber: Transcriber, chunk: Chunk, deadline: float) -> Future[Logits]:
        """Run a chunk of a file; deadline: its place among other chunks, in seconds of the clock.

        The future gives the logits [frames, labels], and can be cancelled until the chunk runs.
        """
        run = ChunkRun(deadline, next(self._numbers), transcriber, chunk, Future())
        with self._changed:
            if self._stopped:
                raise EngineError("the server is stopping; try again later")
            self._chunks.add(run)
            self._changed.notify()
        return run.result

    def _note_fed(self, place: Place) -> None:
        """Note that a stream has something to process; the lock is held."""
        place.fed = True
        self._fed.append(place)
        if len(self._fed) == 1:  # a lane that is free waits for the moment to feed
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (task := self._next()) is None:
                    if self._stopped:
                        return
                    wait = self._fed and not self._feeding
                    self._changed.wait(max(0.0, self._feed_at - self._clock()) if wait else None)
            task()

    def _next(self) -> Callable[[], None] | None:
        """What a lane does next, taken from the queue; the lock is held."""
        if self._stopped:
            return None
        if self._fed and not self._feeding and self._clock() >= self._feed_at and (fed := self._take_fed()):
            return lambda: self._feed(fed)
        ranked = [(rank, number, place) for number, place in enumerate(self._places.values()) if (rank := place.rank)]
        if ranked:
            ranked.sort()
            chosen = [place for _, _, place in ranked[: LOOKED_AT if self._batches(ranked[0][2]) else 1]]
            for place in chosen:
                place.busy = True
            return lambda: self._run_windows(chosen)
        if runs := self._chunks.take(self.settings.batch_seconds * RATE):
            return lambda: self._run_chunks(runs)
        return None

    def _take_fed(self) -> list[Place]:
        """The streams to feed now; the lock is held."""
        fed = [place for place in self._fed if not place.busy]
        self._fed = [place for place in self._fed if place.busy and not place.stream.over]
        for place in fed:
            place.busy, place.fed = True, False
        self._feeding = bool(fed)
        self._feed_at = self._clock() + min(_GATHER_MOST, _GATHER * len(self._places))
        return fed

    def _feed(self, places: list[Place]) -> None:
        taken = [(place.stream, place.stream.take()) for place in places]
        try:
            self._voices.prepare([(stream.voice, stream.voice_windows(each)) for stream, each in taken])
        except Exception as error:
            for stream, _ in taken:
                self._fail(stream, error)
        for stream, each in taken:
            try:
                if not stream.over:
                    stream.serve(each)
            except Exception as error:
                self._fail(stream, error)
        with self._changed:
            self._feeding = False
            self._free(places)
            self._changed.notify_all()

    def _free(self, places: list[Place]) -> None:
        """Let other lanes have streams again, and see what is due for them; the lock is held."""
        for place in places:
            place.busy = False
            if place.stream.over:
                self._places.pop(place.stream, None)
            self._look(place)

    def _look(self, place: Place) -> None:
        """Check what is due for a stream; the lock is held and the stream is not being served."""
        due = place.stream.due()
        if due is not None and (place.due is None or RANK[due] < RANK[place.due]):
            place.since = place.stream.since() if due == "partial" else self._clock()
        place.due = due

    def _batches(self, place: Place) -> bool:
        """Whether a stream's windows may run together with others."""
        return self.settings.batch_seconds > 0 and place.stream.live.model.variant.batches

    def _taken(self, places: list[Place]) -> list[tuple[Place, Window]]:
        """A batch of the most urgent stream's window and of those like it; the lock is not held, for it computes."""
        taken: list[tuple[Place, Window]] = []
        waited: list[float] = []
        most = self.settings.batch_seconds * RATE
        for place in places:
            try:
                behind = self._clock() - place.since > _BEHIND
                if not place.issued and not place.stream.over and (window := place.stream.issue(behind)) is not None:
                    place.issued.append(window)
            except Exception as error:
                self._fail(place.stream, error)
                continue
            if place.issued and (not taken or together(taken, place.stream, place.issued[0], most)):
                taken.append((place, window := place.issued.popleft()))
                if window.purpose != "features":  # the partial that needs them follows
                    waited.append(self._clock() - place.since)
                    place.due = None
        left = [place for place in places if all(place is not other for other, _ in taken)]
        with self._changed:
            self.counts.waits.extend(waited)
            self._free(left)
            if left:
                self._changed.notify_all()
        return taken

    def _run_windows(self, places: list[Place]) -> None:
        """Run a batch; one of features is followed at once by the partials that need them.

        Sound that came in between would need further features first, so that a busy stream had no partial for long.
        """
        while taken := self._taken(places):
            lags = self._run_taken(taken)
            places = [place for place, _ in taken]
            if taken[0][1].purpose != "features":
                with self._changed:
                    self.counts.lags.extend(lags)
                    self._free(places)
                return

    def _run_taken(self, taken: list[tuple[Place, Window]]) -> list[float]:
        """Run a batch and give the outputs to its streams; returns the lags of its partials."""
        place, window = taken[0]
        model, options = place.stream.live.model, place.stream.live.options(window.stage)
        began = self._clock()
        try:
            outputs: Arrays = model.run(window.stage, batches.joined([each.feeds for _, each in taken]), options)
        except Exception as error:
            for place, _ in taken:
                self._fail(place.stream, error)
            return []
        seconds = self._clock() - began
        self._count(len(taken), seconds, sum(each.end - each.start for _, each in taken) / RATE)
        lags = []
        for (place, each), rows in zip(taken, batches.parted(outputs, len(taken))):
            try:
                lags.append(place.stream.deliver(each, rows, seconds / len(taken)))
            except Exception as error:
                self._fail(place.stream, error)
        return [lag for lag in lags if lag is not None]

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
