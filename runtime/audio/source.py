"""The bytes of a recording, wherever they come from, to be read from any place and more than once."""

from __future__ import annotations

import bisect
import contextlib
import io
import itertools
import os
import re
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import AudioError

_CHUNK = 1 << 18
"""Bytes that are read at once: decoders ask for a few kB at a time."""

_LONGEST_PATTERN = 16

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://|https?:/")


class Source:
    """A recording's bytes: ``name`` for messages, ``size``; ``opened`` gives a view of them for one pass."""

    def __init__(self, name: str, size: int, path: Path | None = None, file: BinaryIO | None = None) -> None:
        """Use ``open_source``."""
        self.name = name
        self.size = size
        self._path = path
        self._file = file
        self._begin = file.tell() if file is not None else 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def opened(self) -> Iterator[View]:
        """The bytes for one pass; several passes may run at the same time."""
        if self._file is not None:
            yield View(self._file, self._begin, self.size, self._lock)
            return
        assert self._path is not None
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise AudioError(f"{self.name}: cannot be read ({error.strerror or error})") from error
        with file:
            yield View(file, 0, self.size, threading.Lock())


class View:
    """Bytes that can be read from any place."""

    def __init__(self, file: BinaryIO, begin: int, size: int, lock: threading.Lock) -> None:
        """Use ``Source.opened``."""
        self.size = size
        self._file = file
        self._begin = begin
        self._lock = lock
        self._held = b""
        self._held_from = 0

    def at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset`` on; fewer at the end."""
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        place = offset - self._held_from
        if place < 0 or place + count > len(self._held):
            with self._lock:
                self._file.seek(self._begin + offset)
                data = self._file.read(max(count, _CHUNK))
            if count >= _CHUNK:
                return data[:count]
            self._held, self._held_from, place = data[: self.size - offset], offset, 0
        return self._held[place : place + count]

    def search(self, pattern: re.Pattern[bytes], start: int, end: int | None = None) -> int:
        """Where a pattern of at most 16 bytes begins between two places; -1 where it is not."""
        end = self.size if end is None else min(end, self.size)
        while start < end:
            data = self.at(start, min(_CHUNK, end - start))
            if found := pattern.search(data):
                return start + found.start()
            start += max(1, len(data) - _LONGEST_PATTERN) if start + len(data) < end else len(data)
        return -1

    def find(self, pattern: bytes, start: int, end: int | None = None) -> int:
        """Where some bytes begin between two places; -1 where they are not."""
        end = self.size if end is None else min(end, self.size)
        while start + len(pattern) <= end:
            self.at(start, 1)  # holds what follows
            place = self._held.find(pattern, start - self._held_from, end - self._held_from)
            if place >= 0:
                return self._held_from + place
            following = self._held_from + len(self._held) - len(pattern) + 1
            if following <= start:  # the rest of what is held is shorter than the pattern
                self._held, following = b"", start
            start = following
        return -1


Segment = bytes | tuple[int, int]
"""Bytes that are made, or a stretch of a view from a place up to another."""


class Stretch(io.RawIOBase):
    """A file made of stretches of bytes and of bytes that are put in; what decoders are handed."""

    def __init__(self, view: View, segments: Sequence[Segment]) -> None:
        """``segments``, one after the other."""
        super().__init__()
        self._view = view
        self._segments = segments
        sizes = [len(part) if isinstance(part, bytes) else part[1] - part[0] for part in segments]
        self._starts = [0, *itertools.accumulate(sizes)]
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; never before the first byte."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def read(self, count: int | None = -1) -> bytes:
        """Up to ``count`` bytes; all that follow where it is negative."""
        left = max(0, self._starts[-1] - self._at)
        count = left if count is None or count < 0 else min(count, left)
        parts = []
        while count > 0:
            index = bisect.bisect_right(self._starts, self._at) - 1
            part, place = self._segments[index], self._at - self._starts[index]
            take = min(count, self._starts[index + 1] - self._at)
            data = part[place : place + take] if isinstance(part, bytes) else self._view.at(part[0] + place, take)
            if not data:
                break  # the file became shorter meanwhile
            parts.append(data)
            self._at += len(data)
            count -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_source(source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> Source:
    """The bytes of a file's name, of a program's own bytes, or of an open binary file from its place on.

    What cannot seek, such as a pipe, is copied to an unnamed temporary file first. Raises AudioError where there is
    nothing to read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        if not data:
            raise AudioError("the bytes: it holds no data")
        return Source("the bytes", len(data), file=io.BytesIO(data))
    if isinstance(source, (str, os.PathLike)):
        return _named(source)
    return _opened(source)


def name_of(source: object) -> str:
    """What a recording is called in messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the bytes"
    name = getattr(source, "name", None)
    return "standard input" if name in ("<stdin>", 0) else name if isinstance(name, str) else "the stream"


def check_file(path: Path) -> None:
    """Raise AudioError, saying why, when a path does not name a readable non-empty file."""
    if _URL.match(str(path)):
        raise AudioError(f"{path}: URLs are not fetched; download it and name the file")
    try:
        status = path.stat()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{path!s}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a directory; name its files")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise AudioError(f"{path}: the file is empty")


def _named(source: str | os.PathLike[str]) -> Source:
    if isinstance(source, str) and _URL.match(source):
        raise AudioError(f"{source}: URLs are not fetched; download it and name the file")
    path = Path(source)
    check_file(path)
    try:
        with path.open("rb") as file:
            if file.seekable():
                return Source(str(path), os.fstat(file.fileno()).st_size, path=path)
            return _spooled(file, str(path))
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error


def _opened(file: BinaryIO) -> Source:
    name = name_of(file)
    try:
        seekable = getattr(file, "seekable", None)
        if seekable is None or not seekable():
            return _spooled(file, name)
        begin = file.tell()
        size = file.seek(0, os.SEEK_END) - begin
        file.seek(begin)
        sample = file.read(1)
        file.seek(begin)
    except AudioError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AudioError(f"{name}: cannot be read ({error})") from error
    if isinstance(sample, str):
        raise AudioError(f"{name}: it is open as text; open it with mode 'rb'")
    if size <= 0:
        raise AudioError(f"{name}: it holds no data" + ("; it is at its end, seek(0) first" if begin else ""))
    return Source(name, size, file=file)


def _spooled(stream: BinaryIO, name: str) -> Source:
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source
    try:
        shutil.copyfileobj(stream, spool)
        size = spool.tell()
        if size == 0:
            raise AudioError(f"{name}: it holds no data")
        spool.seek(0)
    except BaseException as error:
        spool.close()
        if isinstance(error, TypeError):  # text
            raise AudioError(f"{name}: it is open as text; open it as a binary stream") from error
        raise
    source = Source(name, size, file=cast(BinaryIO, spool))
    weakref.finalize(source, spool.close)
    return source
