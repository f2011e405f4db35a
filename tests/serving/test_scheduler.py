"""Streams and files on one model: who is served first, and that the texts are those of one alone."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.serving.conftest import Listener, blocks_of, opened, text_of

from wav2edge.runtime.audio import read
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.errors import EngineError
from wav2edge.runtime.live.events import Dropped, Final, Partial
from wav2edge.runtime.live.silero import Silero, SileroBatch
from wav2edge.runtime.live.window import Window
from wav2edge.runtime.recordings.chunking import Chunk
from wav2edge.serving import batches
from wav2edge.serving.models import Catalogue
from wav2edge.serving.scheduler import Scheduler, SchedulerSettings
from wav2edge.serving.streams import CaptionStream
from wav2edge.serving.waiting import Place


class Watched(Scheduler):
    """A scheduler that notes the windows that it ran, each with its stream."""

    def __init__(self, settings: SchedulerSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(settings, clock)
        self.ran: list[tuple[CaptionStream, Window]] = []

    def _run_taken(self, taken: list[tuple[Place, Window]]) -> list[float]:
        self.ran += [(place.stream, window) for place, window in taken]
        return super()._run_taken(taken)


@pytest.mark.parametrize("settings", [SchedulerSettings(2, 0.0), SchedulerSettings(1, 60.0)], ids=["lanes", "batches"])
def test_each_of_many_streams_has_the_text_of_listen(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str], settings: SchedulerSettings
) -> None:
    with Scheduler(settings) as scheduler:
        running: list[tuple[Path, CaptionStream, Listener]] = []
        for path in recordings:
            stream, listener = opened(catalogue)
            scheduler.add(stream)
            running.append((path, stream, listener))
        for blocks in itertools.zip_longest(*(blocks_of(path) for path in recordings)):
            for (_, stream, _), block in zip(running, blocks):
                if block is not None:
                    stream.offer(block)
                    scheduler.wake(stream)
        for path, stream, listener in running:
            stream.finish()
            scheduler.wake(stream)
            assert listener.done.wait(60), path
            assert listener.error is None
            assert text_of(listener.events) == listened[path] != "", path
        assert scheduler.streams == 0
        if settings.batch_seconds:
            assert max(scheduler.counts.batches) > 1, "nothing ran together"


def test_files_in_one_batch_have_the_logits_of_each_alone(catalogue: Catalogue, recordings: list[Path]) -> None:
    transcriber = catalogue.models[0].transcriber
    samples = read.load(recordings[0])
    chunks = [Chunk(samples[: 32000 + 320 * number], 0, None) for number in range(4)]
    scheduler = Scheduler(SchedulerSettings(1, 60.0))
    futures = [scheduler.submit(transcriber, chunk, 0.0) for chunk in chunks]
    with scheduler:
        for chunk, future in zip(chunks, futures):
            np.testing.assert_allclose(future.result(60), transcriber.run([chunk])[0], atol=2e-4)
    assert scheduler.counts.batches == {4: 1}


def test_finals_come_before_partials_and_streams_before_files(catalogue: Catalogue, recordings: list[Path]) -> None:
    """One lane, everything queued before it starts: the order in which the model is run is the order of urgency."""
    served = catalogue.models[0]
    order: list[str] = []
    scheduler = Scheduler()
    chunk = Chunk(np.zeros(16000, np.float32), 0, None)
    for name, deadline in (("file, later", 2.0), ("file, sooner", 1.0)):
        future = scheduler.submit(served.transcriber, chunk, deadline)
        future.add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    talking, listener = opened(catalogue)
    ended, last = opened(catalogue)
    for stream, count in ((talking, 24), (ended, 24)):
        scheduler.add(stream)
        for block in blocks_of(recordings[0])[:count]:
            stream.offer(block)
    ended.finish()
    listener.emit = lambda events: order.extend(e.kind for e in events if isinstance(e, Partial))  # type: ignore[method-assign]
    talking._emit = listener.emit
    ended._emit = lambda events: order.extend(e.kind for e in events if isinstance(e, Final))
    with scheduler:
        assert last.done.wait(60)
        future.result(60)
    assert [name for name, _ in itertools.groupby(order)] == ["final", "partial", "file, sooner", "file, later"]


def test_what_may_be_discarded_comes_after_partials(catalogue: Catalogue, recordings: list[Path]) -> None:
    """A final pass is run ahead during a pause, after which its utterance may go on; captions must not wait for it."""
    scheduler, names = Watched(), dict[CaptionStream, str]()
    speech = np.concatenate(blocks_of(recordings[0])[:24])
    for name, quiet in (("pausing", 1.2), ("talking", 0.0)):
        stream, _ = opened(catalogue)
        names[stream] = name
        scheduler.add(stream)
        stream.offer(np.concatenate((speech, np.full(round(quiet * 16000), 1e-4, np.float32))))

    def order() -> list[str]:
        return [f"{names[stream]} {window.purpose}" for stream, window in scheduler.ran]

    with scheduler:
        while "pausing final" not in order():
            time.sleep(0.01)
    ran = order()
    assert ran.index("pausing final") > ran.index("talking partial") > ran.index("pausing partial")


def test_a_partial_that_waited_has_less_context_and_the_oldest_comes_first(
    catalogue: Catalogue, recordings: list[Path]
) -> None:
    """One lane with a clock that the test sets: both streams are due, one since 0.2 s and one since now."""
    now = [0.0]
    served = catalogue.models[0]
    names, listener = dict[CaptionStream, str](), Listener()
    scheduler = Watched(clock=lambda: now[0])
    for name, came in (("new", 0.2), ("old", 0.0)):
        now[0] = came
        stream = CaptionStream(served.live, listener.emit, listener.ended, clock=lambda: now[0])
        names[stream] = name
        scheduler.add(stream)
        stream.offer(np.concatenate(blocks_of(recordings[0])[:24]))
    now[0] = 0.2

    def partials() -> list[tuple[str, float]]:
        ran = [(names[stream], window) for stream, window in scheduler.ran if window.purpose == "partial"]
        return [(name, (window.end - window.start) / 16_000) for name, window in ran]

    with scheduler:
        while len(partials()) < 2:
            time.sleep(0.01)
    settings = served.live.settings
    (older, short), (newer, long), *_ = partials()
    assert (older, newer) == ("old", "new")
    assert short == pytest.approx(settings.hop + settings.behind_context, abs=0.03) and long > 2.0


def test_sound_that_does_not_fit_is_dropped_and_said(catalogue: Catalogue) -> None:
    listener = Listener()
    stream = CaptionStream(catalogue.models[0].live, listener.emit, listener.ended, limit=1.0)
    for _ in range(15):
        stream.offer(np.zeros(1600, np.float32))
    assert stream.waiting == pytest.approx(1.0)
    with Scheduler() as scheduler:
        scheduler.add(stream)
        stream.finish()
        scheduler.wake(stream)
        assert listener.done.wait(30)
    lost = [event for event in listener.events if isinstance(event, Dropped)]
    assert sum(event.seconds for event in lost) == pytest.approx(0.5)
    assert lost[-1].time == pytest.approx(0.5)
    assert stream.decoder.received == 24000, "what was kept has its own time"


def test_a_cancelled_stream_leaves_at_once_and_runs_nothing_more(catalogue: Catalogue, recordings: list[Path]) -> None:
    stream, listener = opened(catalogue)
    scheduler = Scheduler()
    scheduler.add(stream)
    for block in blocks_of(recordings[0]):
        stream.offer(block)
    stream.cancel()
    scheduler.wake(stream)
    with scheduler:
        assert scheduler.streams == 0
    assert not listener.events and not scheduler.counts.batches


def test_a_cancelled_file_is_not_run(catalogue: Catalogue) -> None:
    scheduler = Scheduler()
    chunk = Chunk(np.zeros(16000, np.float32), 0, None)
    first, second = (scheduler.submit(catalogue.models[0].transcriber, chunk, 0.0) for _ in range(2))
    assert first.cancel()
    with scheduler:
        second.result(30)
    assert scheduler.counts.batches == {1: 1}


def test_what_waits_at_the_end_fails_with_a_sentence(catalogue: Catalogue) -> None:
    scheduler = Scheduler()
    stream, listener = opened(catalogue)
    scheduler.add(stream)
    future = scheduler.submit(catalogue.models[0].transcriber, Chunk(np.zeros(16000, np.float32), 0, None), 0.0)
    scheduler.close()
    with pytest.raises(EngineError, match="stopping"):
        future.result(1)
    assert isinstance(listener.error, EngineError)
    with pytest.raises(EngineError, match="stopping"):
        scheduler.add(stream)


def test_a_stream_whose_run_fails_ends_with_the_error_and_the_others_go_on(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, bad = opened(catalogue)
    healthy, good = opened(catalogue)
    model = catalogue.models[0].model
    run = model.run

    def failing(stage: object, feeds: Arrays, options: object = None) -> Arrays:
        if broken.captions.received and not bad.done.is_set():
            raise EngineError("the engine failed")
        return run(stage, feeds, options)  # type: ignore[arg-type]

    with Scheduler() as scheduler:
        scheduler.add(broken)
        monkeypatch.setattr(model, "run", failing)
        for block in blocks_of(recordings[0]):
            broken.offer(block)
        scheduler.wake(broken)
        assert bad.done.wait(30) and isinstance(bad.error, EngineError)
        scheduler.add(healthy)
        for block in blocks_of(recordings[0]):
            healthy.offer(block)
        healthy.finish()
        scheduler.wake(healthy)
        assert good.done.wait(60) and good.error is None
    assert text_of(good.events) == listened[recordings[0]]


def test_runs_of_unlike_lengths_are_not_padded_together() -> None:
    assert batches.fits([16000], 19000, 60 * 16000)
    assert not batches.fits([16000], 21000, 60 * 16000)
    assert not batches.fits([16000], 16000, 31999)


def test_a_window_that_takes_long_to_make_holds_up_no_other_stream(
    catalogue: Catalogue, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows were made with the queue's lock held, so one stream's long utterance made every other wait."""
    slow, _ = opened(catalogue)
    other, listener = opened(catalogue)
    entered, leave = threading.Event(), threading.Event()
    issue = slow.issue

    def issue_slowly(behind: bool = False) -> Window | None:
        entered.set()
        assert leave.wait(60)
        return issue(behind)

    monkeypatch.setattr(slow, "issue", issue_slowly)
    with Scheduler(SchedulerSettings(2)) as scheduler:
        scheduler.add(slow)
        for block in blocks_of(recordings[0]):
            slow.offer(block)
        scheduler.wake(slow)
        assert entered.wait(60)
        try:
            scheduler.add(other)
            for block in blocks_of(recordings[0])[:20]:
                other.offer(block)
            other.finish()
            scheduler.wake(other)
            assert listener.done.wait(60)
        finally:
            leave.set()
            slow.cancel()


def test_the_speech_detectors_of_many_streams_run_together(
    catalogue: Catalogue, recordings: list[Path], listened: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each 32 ms of every stream was a run of its own, which took a quarter of all computing."""
    sizes: list[int] = []
    run = SileroBatch.__call__

    def note(batch: SileroBatch, streams: Sequence[Silero], windows: Sequence[NDArray[np.float32]]) -> list[float]:
        sizes.append(len(streams))
        return run(batch, streams, windows)

    def refuse(*_: object) -> float:
        raise AssertionError("a window ran alone")

    monkeypatch.setattr(SileroBatch, "__call__", note)
    monkeypatch.setattr(Silero, "__call__", refuse)
    running = [opened(catalogue) for _ in range(6)]
    sound = np.concatenate(blocks_of(recordings[0]))
    scheduler = Scheduler()
    for stream, _ in running:
        scheduler.add(stream)
        stream.offer(sound[:100])  # the first block only tells where the stream begins
    with scheduler:
        while any(stream.decoder.received == 0 for stream, _ in running):
            time.sleep(0.01)
        for stream, _ in running:
            stream.offer(sound[100:])
            stream.finish()
        for stream, _ in running:
            scheduler.wake(stream)
        for _, listener in running:
            assert listener.done.wait(60) and listener.error is None
            assert text_of(listener.events) == listened[recordings[0]]
    assert sum(sizes) / len(sizes) > 5


def test_features_are_followed_at_once_by_the_partial_that_needs_them(
    catalogue: Catalogue, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other streams came between, so that new sound needed further features first, and a busy stream had no partial."""
    model = catalogue.models[0].model
    run, order = model.run, list[str]()

    def note(stage: str, feeds: Arrays, options: object = None) -> Arrays:
        order.append(stage)
        return run(stage, feeds, options)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "run", note)
    running = [opened(catalogue) for _ in range(4)]
    scheduler = Scheduler()
    for stream, _ in running:
        scheduler.add(stream)
        for block in blocks_of(recordings[0])[:30]:
            stream.offer(block)
    with scheduler:
        while scheduler.counts.batches.get(1, 0) < 2 * len(running):
            time.sleep(0.01)
    stages = [stage for before, stage in zip(["", *order], order) if "full" not in (before, stage)]
    assert stages == ["frontend", "encoder"] * (len(stages) // 2) and len(stages) >= 2 * len(running)
