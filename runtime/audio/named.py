"""What a recording's name may refer to besides a file: pipes are read, everything else is refused."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import AudioError

PIPE_WAIT = 10.0
"""Seconds to wait for a program that writes into a named pipe; the system would wait for ever."""
MOST_PIPED = 8 << 30
"""Bytes at most that are read from a pipe: 12 hours of 48 kHz stereo in 16 bits. A stream without end fills the
disk."""

URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://|https?:/")
_DESCRIPTOR = re.compile(r"/(proc/(self|\d+)|dev)/fd/")
"""What the shell's ``<(…)`` and /dev/stdin lead to: a pipe that is open already."""
_CHUNK = 1 << 18


def check_file(path: Path) -> None:
    """Raise AudioError, saying why, when a path names neither a readable file that is not empty nor a pipe."""
    if URL.match(str(path)):
        raise AudioError(f"{path}: URLs are not fetched; download it and name the file")
    try:
        status = path.stat()
        real = os.path.realpath(path)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{path!s}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a directory; name its files")
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        raise AudioError(f"{path}: is a device, not a recording")
    if stat.S_ISSOCK(status.st_mode):
        raise AudioError(f"{path}: is a socket, not a recording")
    if real.startswith(("/proc/", "/sys/")) and not _DESCRIPTOR.match(real):
        raise AudioError(f"{path}: is a file of the system, not a recording")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise AudioError(f"{path}: the file is empty")


def open_binary(path: Path) -> BinaryIO:
    """Open a file or a pipe; raises AudioError for a named pipe that no program opens to write in ``PIPE_WAIT``."""
    if sys.platform == "win32" or not stat.S_ISFIFO(path.stat().st_mode) or _DESCRIPTOR.match(os.path.realpath(path)):
        return path.open("rb")
    found: list[BinaryIO | OSError] = []

    def wait() -> None:
        try:
            found.append(path.open("rb"))
        except OSError as error:
            found.append(error)

    waiting = threading.Thread(target=wait, name="wav2edge-pipe", daemon=True)
    waiting.start()
    waiting.join(PIPE_WAIT)
    if waiting.is_alive():
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # a writer, for a moment: the thread goes on
        waiting.join()
        for opened in found:
            if not isinstance(opened, OSError):
                opened.close()
        raise AudioError(f"{path}: a named pipe that no program writes into; start the one that does first")
    (opened,) = found
    if isinstance(opened, OSError):
        raise opened
    return opened


def spooled(stream: BinaryIO, name: str) -> tuple[BinaryIO, int]:
    """A stream's bytes in an unnamed temporary file, and their number.

    Raises AudioError where there are none, for text, and for more than ``MOST_PIPED``.
    """
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed with the source
    try:
        while block := stream.read(_CHUNK):
            spool.write(block)
            if spool.tell() > MOST_PIPED:
                raise AudioError(
                    f"{name}: more than {MOST_PIPED >> 30} GiB and no end; captions of such a stream are made live"
                )
        size = spool.tell()
        if size == 0:
            raise AudioError(f"{name}: it holds no data")
        spool.seek(0)
    except BaseException as error:
        spool.close()
        if isinstance(error, TypeError):  # text
            raise AudioError(f"{name}: it is open as text; open it as a binary stream") from error
        raise
    return spool, size
