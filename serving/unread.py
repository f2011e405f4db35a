"""Connections whose client takes nothing of what waits for it: they are ended, however long it stays connected."""

from __future__ import annotations

import asyncio


class WatchedProtocol(asyncio.Protocol):
    """Ends a connection once nothing of what waits for its client was taken for a number of seconds.

    A base before uvicorn's protocol. Closing in order would not end the connection: a transport that is closed first
    sends what it holds, for which it waits without end.
    """

    transport: asyncio.Transport
    _unread_timer: asyncio.TimerHandle | None = None

    def unread_seconds(self) -> float | None:
        """How long a client may take nothing; None: without end."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The buffer is full: look at it from time to time."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The buffer has room."""
        super().resume_writing()
        self.end_watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self.end_watch()
        super().connection_lost(exc)

    def end_watch(self) -> None:
        """Do not look any more, until the buffer is full again."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _watch(self) -> None:
        self.end_watch()
        seconds = self.unread_seconds()
        if seconds is not None:
            waiting = self.transport.get_write_buffer_size()
            self._unread_timer = asyncio.get_running_loop().call_later(seconds, self._look, waiting)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch()  # the client is slow, and goes on
        else:
            self._unread_timer = None
            self.transport.abort()
