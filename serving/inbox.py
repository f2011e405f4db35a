"""What a client sends over a socket: sound straight from the connection, everything else message by message.

A stream gets ten messages of sound a second. Passed on as ASGI passes messages, each one pauses and resumes the
connection and switches between two tasks, which took longer than decoding and checking it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .refusals import Refused
from .service import Service
from .unread import WatchedProtocol

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.http11 import Request

Direct = Callable[[bytes], bool]
"""Takes a binary message at once; false where it must wait its turn among the other messages."""

REALTIME = "/v1/realtime"
"""The path whose messages hold sound as text, and may be longer than the server's others."""

_EXTENSION = "wav2edge.direct"
_REALTIME_BYTES = 21 << 20  # of a message: 15 MiB of sound in base64, and what is around it


class SocketProtocol(WatchedProtocol, WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which hands binary messages to the application's ``Direct`` where there is one."""

    _direct: Direct | None = None

    def unread_seconds(self) -> float | None:
        """As long as it may give no sign of life."""
        return None if self.ping_interval is None else 2 * self.ping_interval

    def keepalive_timeout(self) -> None:
        """End a connection that gave no sign of life: closed in order it would wait for its client to read."""
        super().keepalive_timeout()
        self.transport.abort()

    def handle_connect(self, event: Request) -> None:
        """Begin a connection; how long its messages may be depends on its path."""
        if event.path.partition("?")[0] == REALTIME:
            name = "max_message_size" if hasattr(self.conn, "max_message_size") else "max_size"  # websockets 15
            setattr(self.conn, name, _REALTIME_BYTES)
        super().handle_connect(event)

    def handle_bytes(self, event: Frame) -> None:
        """Take a binary frame; what waits in the queue already comes before it."""
        if event.fin and self._direct is not None and self.queue.empty() and self._direct(bytes(event.data)):
            return
        super().handle_bytes(event)

    async def run_asgi(self) -> None:
        """Run the application; it sets ``Direct`` by an extension of the scope."""
        extensions: dict[str, dict[object, object]] = self.scope["extensions"]
        extensions[_EXTENSION] = {"set": self._set}
        await super().run_asgi()

    def _set(self, direct: Direct | None) -> None:
        self._direct = direct


class Inbox:
    """The messages of one client, in a ``with`` block; the task that enters it is the one that calls ``next``."""

    def __init__(self, socket: WebSocket, service: Service, direct: Direct | None = None) -> None:
        """direct: takes sound at once, where the server's connections can do that."""
        self._socket = socket
        self._service = service
        self._direct = direct
        self._loop = asyncio.get_running_loop()
        self._set: Callable[[Direct | None], None] | None = None
        self._came = self._loop.time()
        self._waiting: asyncio.Task[object] | None = None
        self._over = False
        self.idle: Refused | None = None

    def __enter__(self) -> Inbox:
        """Watch for silence and for the server's stop."""
        extension = self._socket.scope.get("extensions", {}).get(_EXTENSION)
        if extension is not None and self._direct is not None:
            self._set = extension["set"]
            self._set(self._take)
        self._timer = self._loop.call_later(self._service.limits.idle_seconds, self._check)
        self._stop = asyncio.ensure_future(self._service.stopping.wait())
        self._stop.add_done_callback(lambda stop: None if stop.cancelled() else self._end())
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection as it was."""
        if self._set is not None:
            self._set(None)
        self._timer.cancel()
        self._stop.cancel()

    async def next(self) -> str | bytes | None:
        """The next message; None when the server stops, and for an idle client, of which ``idle`` says so.

        Raises WebSocketDisconnect when the client left.
        """
        self._waiting, self._came = asyncio.current_task(), self._loop.time()
        try:
            if not self._over:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(message.get("code", 1005))
                data = message.get("bytes")
                return data if data is not None else str(message.get("text") or "")
        except asyncio.CancelledError:
            if not self._over:
                raise
        finally:
            self._waiting = None
        return None

    def _take(self, data: bytes) -> bool:
        self._came = self._loop.time()
        return self._direct is not None and self._direct(data)

    def _check(self) -> None:
        """End where nothing came for too long; else look again when that could be."""
        limit = self._service.limits.idle_seconds
        left = self._came + limit - self._loop.time()
        if left <= 0 and self._waiting is not None:
            self.idle = Refused(408, f"nothing came for {limit:g} s; the stream is over")
            self._end()
        else:
            self._timer = self._loop.call_later(max(left, 0.05), self._check)

    def _end(self) -> None:
        self._over = True
        if self._waiting is not None:
            self._waiting.cancel()
