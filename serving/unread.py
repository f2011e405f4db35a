"""Connections whose client takes nothing of what waits for it: they are ended, however long it stays connected."""

from __future__ import annotations

import asyncio


class UnreadWatch:
    """Ends a connection once nothing of what waits for its client was taken for a number of seconds.

    Its protocol says when the transport's buffer is full (``paused``) and when it no longer is (``resumed``). Closing
    in order would not end it: a transport that is closed first sends what it holds, for which it waits without end.
    """

    def __init__(self, seconds: float) -> None:
        """seconds: how long a client may take nothing."""
        self._seconds = seconds
        self._waiting = 0  # bytes at the last look
        self._timer: asyncio.TimerHandle | None = None

    def paused(self, transport: asyncio.Transport) -> None:
        """The buffer is full: look at it from time to time."""
        self.resumed()
        self._waiting = transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look, transport)

    def resumed(self) -> None:
        """The buffer has room, or the connection is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, transport: asyncio.Transport) -> None:
        if transport.get_write_buffer_size() < self._waiting:
            self.paused(transport)  # it is slow, and goes on
        else:
            self._timer = None
            transport.abort()
