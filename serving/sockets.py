"""A live stream over a socket: the sound of one client in, its events out through a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..runtime.audio.raw import RawFormat
from ..runtime.live.events import Dropped, Event, Final, Partial, Stats
from ..runtime.live.portaudio import Resampler
from ..runtime.live.sources import RATE
from ..runtime.live.transcriber import LiveTranscriber
from .limits import Limits
from .refusals import Refused, refusal
from .service import Service
from .streams import CaptionStream

_POLL = 0.02  # seconds between two checks whether more sound may be taken
_STALLED = 5.0  # seconds that a client is made to wait before its oldest sound is dropped


class Outbox:
    """The queue of events for a client; bounded, because a client may read slowly or not at all."""

    def __init__(self, limits: Limits) -> None:
        """limits: how many events may wait."""
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._items: deque[Event] = deque()
        self._changed = asyncio.Event()
        self.error: BaseException | None = None
        self.over = False
        self.cut = False

    @property
    def done(self) -> bool:
        """Whether the stream is over and no event of it waits; at once where the client was cut off."""
        return self.over and (self.cut or not self._items)

    def emit(self, events: Sequence[Event]) -> None:
        """Take events from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._put, events)

    def ended(self, error: BaseException | None) -> None:
        """Take the end of the stream from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, error)

    async def take(self) -> list[Event]:
        """The events that wait; none when the stream is over."""
        while not self._items and not self.over:
            self._changed.clear()
            await self._changed.wait()
        items, self._items = list(self._items), deque()
        return items

    def _put(self, events: Sequence[Event]) -> None:
        for event in events:
            self._add(event)
        self._changed.set()

    def _add(self, event: Event) -> None:
        last = self._items[-1] if self._items else None
        newer_partial = isinstance(event, Partial) and isinstance(last, Partial) and last.utterance == event.utterance
        if newer_partial or (isinstance(event, Stats) and isinstance(last, Stats)):
            self._items[-1] = event
        elif len(self._items) < self._limits.events:
            self._items.append(event)
        elif not self.over:
            self.cut = True
            self._end(Refused(408, f"{len(self._items)} events wait; this client takes them too slowly"))

    def _end(self, error: BaseException | None) -> None:
        if not self.over:
            self.error, self.over = error, True
        self._changed.set()


class Conversion:
    """Turns the bytes of one sound, of one encoding and rate, into samples at 16 kHz."""

    def __init__(self, form: RawFormat) -> None:
        """Begin a sound of this form."""
        self._form = form
        self._resampler = Resampler(form.rate, RATE)
        self._rest = b""

    def __call__(self, data: bytes) -> NDArray[np.float32]:
        """The samples of further bytes; those of an incomplete frame are kept for the next. Raises Refused."""
        data = self._rest + data if self._rest else data
        whole = len(data) // self._form.frame_bytes * self._form.frame_bytes
        samples = mono(self._form, data[:whole])
        self._rest = data[whole:]
        return self._resampler(samples)

    def flush(self) -> NDArray[np.float32]:
        """The samples that are still held, at the end of the sound."""
        return self._resampler.flush()


class Feed:
    """Converts one client's bytes, of one encoding and rate, to samples at 16 kHz and gives them to a stream."""

    def __init__(
        self, service: Service, live: LiveTranscriber, outbox: Outbox, form: RawFormat, before: float = 0.0
    ) -> None:
        """Open a stream on ``live``; its events go to the outbox. before: seconds of the client's sound before it."""
        self._form = form
        self._before = before
        self._convert = Conversion(form)
        self._outbox = outbox
        self._reason: Refused | None = None
        self.stream = CaptionStream(live, outbox.emit, self._ended, limit=service.limits.backlog_seconds)
        self._service = service
        self._sent = 0
        self._pushing = False
        service.add(self.stream)

    @property
    def seconds(self) -> float:
        """Seconds of sound that came."""
        return self._sent / RATE

    @property
    def is_longest(self) -> bool:
        """Whether the client's sound is as long as a stream may be."""
        return self._before + self.seconds > self._service.limits.stream_seconds

    @property
    def too_long(self) -> Refused | None:
        """What a client is told whose sound is as long as a stream may be, and is not taken further."""
        if not self.is_longest:
            return None
        hours = self._service.limits.stream_seconds / 3600
        return Refused(413, f"a stream may last {hours:g} hours; what came after that is not in the text")

    def change(self, form: RawFormat) -> None:
        """Take what comes now in another form; nothing changes where it is the same."""
        if form != self._form:
            self._offer(self._convert.flush())
            self._form, self._convert = form, Conversion(form)

    async def push(self, data: bytes) -> None:
        """Take bytes, a second of sound at a time; waits a while where too much is waiting to be decoded.

        What comes after the server began to stop is left out. Whoever calls it ends the stream once it ``is_longest``.
        """
        self._pushing = True
        try:
            for piece in seconds_of(self._form, data):
                if self.is_longest or self._service.stopping.is_set():
                    return
                samples, waited = self._convert(piece), 0.0
                while self._full and waited < _STALLED:
                    await asyncio.sleep(_POLL)
                    waited += _POLL
                self._offer(samples)
        finally:
            self._pushing = False

    def take(self, data: bytes) -> bool:
        """``push`` at once; false, with nothing taken, where it would wait or raise."""
        if self._pushing or self._full or self.is_longest or len(data) > second_bytes(self._form):
            return False
        try:
            samples = self._convert(data)
        except Refused:
            return False
        self._offer(samples)
        return True

    @property
    def _full(self) -> bool:
        return self.stream.waiting > self._service.limits.backlog_seconds / 2

    def _offer(self, samples: NDArray[np.float32]) -> None:
        self._sent += len(samples)
        self.stream.offer(samples)
        self._service.scheduler.wake(self.stream)

    def finish(self, reason: Refused | None = None) -> None:
        """The sound is over; reason: the error that the outbox gets after the last events."""
        self._reason = reason
        self._offer(self._convert.flush())
        self.stream.finish()
        self._service.scheduler.wake(self.stream)

    def discard(self) -> None:
        """The sound is over, and what waits to be decoded is forgotten; the running utterance has a Final ("end")."""
        note(self._service, self.stream.take().lost)
        self._sent += len(self._convert.flush())
        self.stream.finish()
        self._service.scheduler.wake(self.stream)

    def close(self) -> None:
        """End at once, and count what was taken in."""
        self.stream.cancel()
        self._service.scheduler.wake(self.stream)
        self._service.metrics.received("streams", self.seconds)

    def _ended(self, error: BaseException | None) -> None:
        self._outbox.ended(error or self._reason)


def second_bytes(form: RawFormat) -> int:
    """Bytes of a second of sound."""
    return form.rate * form.frame_bytes


def seconds_of(form: RawFormat, data: bytes) -> Iterator[bytes]:
    """Bytes of sound in pieces of a second."""
    size = second_bytes(form)
    return (data[at : at + size] for at in range(0, len(data), size))


def mono(form: RawFormat, data: bytes) -> NDArray[np.float32]:
    """Bytes as mono float32 [samples]; raises Refused for values that are not samples."""
    frames = form.decode(data)
    samples: NDArray[np.float32] = frames[:, 0] if form.channels == 1 else frames.mean(axis=1, dtype=np.float32)
    if not np.abs(samples).max(initial=0.0) <= 64.0:  # false for NaN as well
        raise Refused(400, "the sound holds NaN, infinite or unscaled samples; floats are in [-1, 1]")
    return samples


async def send(socket: WebSocket, text: str, limits: Limits) -> None:
    """Send a message; raises Refused where the client does not take it."""
    task, stalled = asyncio.current_task(), False

    def stall() -> None:
        nonlocal stalled
        stalled = True
        if task is not None:
            task.cancel()

    timer = asyncio.get_running_loop().call_later(limits.stalled_seconds, stall)  # asyncio.wait_for makes a task
    try:
        await socket.send_text(text)
    except asyncio.CancelledError:
        if not stalled:
            raise
        raise Refused(408, "this client takes no events") from None
    finally:
        timer.cancel()


async def conversation(
    socket: WebSocket, service: Service, taking: Callable[[], Awaitable[None]], giving: Callable[[], Awaitable[None]],
    say: Callable[[Refused], str],
) -> Refused | None:  # fmt: skip
    """Receive and send on a socket until sending ends; an error is sent, and then the socket is closed.

    Returns the error; None where the sound ended as its client wished.
    """
    tasks = [asyncio.ensure_future(taking()), asyncio.ensure_future(giving())]
    problem: Refused | None = None
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    except (WebSocketDisconnect, asyncio.CancelledError):
        raise
    except Exception as error:
        problem = refusal(error)
        if problem.status == 500:
            service.log.exception("a socket failed")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(Exception):
        if problem is not None:
            await asyncio.wait_for(socket.send_text(say(problem)), 1.0)
        if socket.application_state is WebSocketState.CONNECTED:
            code = problem.close_code if problem else 1001 if service.stopping.is_set() else 1000
            await asyncio.wait_for(socket.close(code, problem.close_reason if problem else ""), 1.0)
    return problem


def note(service: Service, events: Sequence[Event]) -> None:
    """Count the sound that events say was dropped, and log what finals say where that was asked for."""
    service.metrics.drop(sum(event.seconds for event in events if isinstance(event, Dropped)))
    for event in events:
        if isinstance(event, Final):
            service.said("stream", event.text)
