"""The sockets that servers listen on."""

from __future__ import annotations

import errno
import socket

from ..runtime.errors import InputError


def listening(host: str, port: int) -> socket.socket:
    """A listening socket, port 0 for a free one; raises InputError where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is taken; choose another, or 0 for a free one") from error
        raise InputError(f"{host}:{port}: cannot listen there ({error.strerror or error})") from error
    return made
