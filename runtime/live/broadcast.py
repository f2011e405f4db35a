"""Events for other programs on this machine: a local socket gives each that connects every event as a line of JSON."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from pathlib import Path

from ..errors import InputError
from .events import Event, to_line

SUFFIX = ".sock"
_WAITING = 16  # connections that wait for the next event


class EventSocket:
    """A local stream socket; called with the events as they come.

    Nothing a client does slows captions down: one that does not read its events, once the system's buffer for it is
    full, is disconnected.
    """

    def __init__(self, path: Path) -> None:
        """Make the socket, for this user only; one that a process left when it ended is replaced.

        Raises InputError where it cannot be made, or is in use.
        """
        self._path = path
        self._clients: list[socket.socket] = []
        self._socket = _listening(path)

    def __call__(self, event: Event) -> None:
        """Send an event to whoever is connected."""
        self._accept()
        line = (to_line(event) + "\n").encode("utf-8")
        self._clients = [client for client in self._clients if _sent(client, line)]

    def close(self) -> None:
        """Disconnect everyone and remove the socket."""
        for client in self._clients:
            client.close()
        self._clients = []
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:  # nothing waits; or too many files are open, and the client goes on waiting
                return
            client.setblocking(False)
            self._clients.append(client)


def _listening(path: Path) -> socket.socket:
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise InputError(f"{path}: this system has no local sockets; name a file that ends in .json")
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        mask = os.umask(0o177)
        try:
            found.bind(os.fspath(path))
        finally:
            os.umask(mask)
        found.listen(_WAITING)
        found.setblocking(False)
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)  # a path that is too long has no strerror
        raise InputError(f"{path}: no socket can be made there ({reason}); choose another name") from error
    return found


def _remove_dead(path: Path) -> None:
    """Remove the socket of a process that ended; raises InputError where one listens, or it is not a socket."""
    if sys.platform == "win32":
        return
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"{path}: exists and is not a socket; choose another name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise InputError(f"{path}: another program gives its events there; choose another name")


def _sent(client: socket.socket, line: bytes) -> bool:
    try:
        if client.send(line) == len(line):
            return True
    except OSError:
        pass
    client.close()
    return False
