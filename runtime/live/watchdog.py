"""Tell systemd that the loop is ready and runs (sd_notify(3)), so that one that hangs is started again.

A service with ``Type=notify`` and ``WatchdogSec=`` gets NOTIFY_SOCKET and WATCHDOG_USEC in its environment; without
them nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence

from .sources import Item, LiveSource


class Watchdog:
    """What a service reports to its manager; without a manager every call does nothing."""

    def __init__(self, address: str | None, interval: float) -> None:
        """address: of the manager's socket (``@`` starts an abstract one). interval: seconds between reports at most.

        An interval of 0 means that no reports are wanted.
        """
        self._address = address
        self._interval = interval / 2  # sd_watchdog_enabled(3) recommends half of it
        self._last = 0.0
        self._socket: socket.socket | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Watchdog:
        """What the service manager asked for in the environment."""
        address = environment.get("NOTIFY_SOCKET") or None
        micro = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(micro) / 1e6 if micro.isdigit() and mine else 0.0)

    def ready(self) -> None:
        """Say that starting is over: the model is loaded, the sound is open."""
        self._send("READY=1")
        self._last = time.monotonic()

    def beat(self) -> None:
        """Say that the loop turns; sent when half of the interval has gone since the last time."""
        now = time.monotonic()
        if self._interval > 0 and now - self._last >= self._interval:
            self._last = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that it ends in order."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Release the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._address is None or not hasattr(socket, "AF_UNIX"):
            return
        with contextlib.suppress(OSError):  # a manager that is gone, or too busy to read, must not stop captions
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            name = self._address
            self._socket.sendto(message.encode(), f"\0{name[1:]}" if name.startswith("@") else name)


class WatchedSource:
    """A source that reports to the watchdog each time the loop comes back to it.

    Between two reads the loop runs the model, so an engine that hangs, or a loop that stops turning, is not reported.
    A microphone that is gone is: the loop waits for it and is well.
    """

    def __init__(self, source: LiveSource, watchdog: Watchdog) -> None:
        """Read from ``source``."""
        self._source = source
        self._watchdog = watchdog

    def read(self, timeout: float) -> Sequence[Item] | None:
        """As the source's."""
        self._watchdog.beat()
        return self._source.read(timeout)

    @property
    def warnings(self) -> tuple[str, ...]:
        """As the source's, where it has some."""
        return getattr(self._source, "warnings", ())

    def present(self) -> int | None:
        """As the source's."""
        return self._source.present()

    def close(self) -> None:
        """As the source's."""
        self._source.close()
