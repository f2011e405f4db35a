"""The events of a source in for, async for and with; closing ends everything, from any thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from wav2edge.runtime.errors import AudioError, EngineError
from wav2edge.runtime.live.events import Event, Final
from wav2edge.runtime.live.listening import Events, open_source
from wav2edge.runtime.live.sources import FileSource, Item
from wav2edge.runtime.live.transcriber import LiveTranscriber

if TYPE_CHECKING:
    from tests.runtime.live.conftest import Booth, Played, SpokenSession


class Endless:
    """A source that gives nothing for ever, as a microphone whose server hangs."""

    def __init__(self) -> None:
        self.closed = 0

    def read(self, timeout: float) -> Sequence[Item] | None:
        time.sleep(timeout / 10)
        return []

    def present(self) -> int | None:
        return None

    def close(self) -> None:
        self.closed += 1


class Failing(Endless):
    """A source that breaks."""

    def read(self, timeout: float) -> Sequence[Item] | None:
        raise EngineError("the sound system is gone")


def session_of(live: LiveTranscriber) -> SpokenSession:
    return cast("SpokenSession", live.model.session())


@pytest.fixture
def source(booth: Booth) -> Played:
    return booth.played(booth.in_blocks(np.concatenate((booth.speak("hello there"), booth.quiet(2.0)))))


def texts(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


def test_a_loop_gives_the_events_and_closes_what_it_was_given(live: LiveTranscriber, source: Played) -> None:
    session = session_of(live)
    listening = Events(live, source)
    assert texts(list(listening)) == ["hello there"]
    assert (source.closed, session.closed) == (1, 1)
    assert list(listening) == []
    listening.close()
    assert (source.closed, session.closed) == (1, 1)


def test_leaving_a_with_block_closes(live: LiveTranscriber, source: Played) -> None:
    session = session_of(live)
    with Events(live, source) as listening:
        next(listening)
    assert (source.closed, session.closed) == (1, 1)
    with pytest.raises(StopIteration):
        next(listening)


def test_a_loop_that_was_left_closes_when_it_is_forgotten(live: LiveTranscriber, source: Played) -> None:
    session = session_of(live)
    for _ in Events(live, source):
        break
    gc.collect()
    assert (source.closed, session.closed) == (1, 1)


def test_stopping_gives_the_running_utterance_its_final(live: LiveTranscriber, source: Played) -> None:
    listening, events = Events(live, source), []
    for event in listening:
        events.append(event)
        listening.stop()
    assert texts(events) != []


def test_an_error_closes(live: LiveTranscriber) -> None:
    session, source = session_of(live), Failing()
    listening = Events(live, source)
    with pytest.raises(EngineError, match="gone"):
        next(listening)
    assert (source.closed, session.closed) == (1, 1)
    assert list(listening) == []


def test_async_for_gives_the_same_events_and_leaves_the_loop_free(live: LiveTranscriber, source: Played) -> None:
    inner, slow = source.read, threading.Event()

    def read(timeout: float) -> list[Item] | None:
        slow.wait(0.01)
        return inner(timeout)

    source.read = read  # type: ignore[method-assign]

    async def run() -> tuple[list[Event], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with Events(live, source) as listening:
            found = [event async for event in listening]
        ticking.cancel()
        return found, ticks

    session = session_of(live)
    events, ticks = asyncio.run(run())
    assert texts(events) == ["hello there"]
    assert ticks > 20, "the event loop stood still"
    assert (source.closed, session.closed) == (1, 1)


def test_a_cancelled_wait_loses_no_event(live: LiveTranscriber, source: Played) -> None:
    release = threading.Event()
    inner = source.read

    def read(timeout: float) -> list[Item] | None:
        release.wait(5.0)
        return inner(timeout)

    source.read = read  # type: ignore[method-assign]

    async def run() -> list[Event]:
        listening = Events(live, source)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(listening), 0.05)
        release.set()
        return [event async for event in listening]

    assert texts(asyncio.run(run())) == ["hello there"]


def test_closing_ends_a_wait_of_another_thread_and_of_a_task(live: LiveTranscriber) -> None:
    """A source that gives no events held its reader, and ``asyncio.run`` waited for its thread."""
    source = Endless()
    listening = Events(live, source)
    found: list[list[Event]] = []
    reader = threading.Thread(target=lambda: found.append(list(listening)), daemon=True)
    reader.start()
    time.sleep(0.1)
    listening.close()
    reader.join(2.0)
    assert found == [[]] and source.closed == 1

    async def run() -> None:
        other = Events(live, Endless())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(other), 0.05)

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < 2.0


def test_closing_within_the_thread_that_waits(live: LiveTranscriber, source: Played) -> None:
    """A signal handler that closes waited for ever for the thread that it runs in; so did a source and a recorder."""
    session, inner, listening = session_of(live), source.read, Events(live, source)
    found: list[Event] = []
    closed: list[int] = []

    def read(timeout: float) -> list[Item] | None:
        if found:
            listening.close()
            closed.append(source.closed)  # 0: it is being read
        return inner(timeout)

    def take() -> None:
        for event in listening:
            found.append(event)

    source.read = read  # type: ignore[method-assign]
    reader = threading.Thread(target=take, daemon=True)
    reader.start()
    reader.join(5.0)
    assert not reader.is_alive()
    assert closed[0] == 0 and (source.closed, session.closed) == (1, 1)
    listening.close()
    assert (source.closed, session.closed) == (1, 1)


def test_a_wait_that_was_cancelled_and_forgotten_closes(live: LiveTranscriber) -> None:
    """The thread that waited for an event kept the source, the model and itself for ever."""
    session, source = session_of(live), Endless()

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(Events(live, source)), 0.05)

    asyncio.run(run())
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "wav2edge-events":
            thread.join(5.0)
            assert not thread.is_alive()
    assert (source.closed, session.closed) == (1, 1)


def test_an_event_that_comes_after_it_is_forgotten_closes(live: LiveTranscriber, source: Played) -> None:
    """The event of a thread that still waits is dropped, and the thread closes the source and the model."""
    session, release, inner = session_of(live), threading.Event(), source.read

    def read(timeout: float) -> list[Item] | None:
        release.wait(5.0)
        return inner(timeout)

    source.read = read  # type: ignore[method-assign]
    listening = Events(live, source)
    waiting = threading.Thread(target=listening._iteration.next, daemon=True)
    waiting.start()
    del listening
    gc.collect()
    assert source.closed == 0, "closed while a thread reads it"
    release.set()
    waiting.join(5.0)
    assert (source.closed, session.closed) == (1, 1)


def test_a_source_is_a_file_by_its_name_or_as_it_is(source: Played, clips: list[tuple[Path, str]]) -> None:
    assert open_source(source) is source
    assert isinstance(open_source(clips[0][0]), FileSource)
    with pytest.raises(AudioError, match="no such file"):
        open_source("missing.wav")
