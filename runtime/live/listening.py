"""The events of a source as they come: for loops, ``async for`` loops and ``with`` blocks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputError
from .backlog import Block
from .events import Event
from .model import LiveModel
from .session import LiveSession
from .sources import FileSource, LiveSource

if TYPE_CHECKING:
    from typing_extensions import Self

_T = TypeVar("_T")


def open_source(source: LiveSource | str | Path | None) -> LiveSource:
    """A source as it is, a recording by its name at its own pace, or the default microphone (None).

    Raises AudioError for a recording that cannot be read, EngineError without a microphone.
    """
    if source is None:
        from .capture import Microphone

        return Microphone()
    return FileSource(source) if isinstance(source, (str, Path)) else source


class _Iteration:
    """The events of one source, taken by one thread at a time; knows nothing of who wants them.

    A thread that waits for an event holds this and not the Events, so that Events which are forgotten meanwhile
    release the source and the model.
    """

    def __init__(self, live: LiveModel, source: LiveSource, session: LiveSession) -> None:
        self.session = session
        self._live = live
        self._source = source
        self._iterator: Iterator[Event] = iter(session)
        # One thread at a time takes an event, or closes. The thread that takes one may close meanwhile: in a signal
        # handler, or where it is given a block of sound.
        self._turn = threading.RLock()
        self._taking = False
        self._closed = False
        self._forgotten = False

    def next(self) -> Event | None:
        """The next event; None once it is over or closed."""
        with self._turn:
            self._taking = True
            try:
                event = self._taken()
            finally:
                self._taking = False
        if self._forgotten:
            self.forget()
        return event

    def close(self) -> None:
        """End at once; waits for another thread that takes an event. A call within ``next`` closes at its end."""
        self.session.stop()
        with self._turn:
            self._close_between_events()

    def forget(self) -> None:
        """``close`` without waiting: a thread that takes an event closes when it has it."""
        self._forgotten = True
        self.session.stop()
        if self._turn.acquire(blocking=False):
            try:
                self._close_between_events()
            finally:
                self._turn.release()

    def _close_between_events(self) -> None:
        """Close now, or at the end of the call of ``next`` that this one is within."""
        if self._taking:
            self._forgotten = True
        else:
            self._close()

    def _taken(self) -> Event | None:
        if self._closed:
            return None
        try:
            event = next(self._iterator, None)
        except BaseException:
            self._close()
            raise
        if event is None:
            self._close()
        return event

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._source.close()
        finally:
            self._live.close()


class Events:
    """Iterate over it, or ``async for`` over it, for the events of a source; close it, or use it in a ``with`` block.

    It owns what it is given: closing it closes the source and the model. An iteration that ends by
    itself, or by an error, closes it too, and so does forgetting it.
    """

    def __init__(self, live: LiveModel, source: LiveSource, record: Callable[[Block], None] | None = None) -> None:
        """Caption ``source`` with ``live``; record: called with every block of sound before it is decoded."""
        self.live = live
        self.source = source
        self.session = live.session(source, record)
        self._iteration = _Iteration(live, source, self.session)
        self._pending: Future[Event | None] | None = None

    def __del__(self) -> None:
        """Release the source and the model of an iteration that was left and forgotten."""
        if hasattr(self, "_iteration"):
            with contextlib.suppress(Exception):
                self._iteration.forget()

    def __reduce__(self) -> str:
        """Raise InputError: its source cannot be copied or sent to another process."""
        raise InputError("events of a live source cannot be copied or pickled; call listen where they are used")

    def stop(self) -> None:
        """End in order: the running utterance gets its Final, then the iteration ends. Any thread may call it."""
        self.session.stop()

    def close(self) -> None:
        """End at once and release the source and the model; any thread may call it, several times."""
        self._iteration.close()

    async def aclose(self) -> None:
        """``close`` without blocking the event loop."""
        import asyncio

        await asyncio.wrap_future(_in_thread(self._iteration.close))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._iteration.next()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event, awaited in a thread; one that was cancelled meanwhile is what the next call gives."""
        import asyncio

        if self._pending is None:
            self._pending = _in_thread(self._iteration.next)
        event = await asyncio.wrap_future(self._pending)
        self._pending = None
        if event is None:
            raise StopAsyncIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _in_thread(call: Callable[[], _T]) -> Future[_T]:
    """Run a call in a thread of its own that does not keep the process alive; cancelling a wait does not cancel it."""
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="wav2edge-events", daemon=True).start()
    return future
