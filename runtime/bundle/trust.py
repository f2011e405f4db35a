"""Checks for bundles of unknown origin: listed names are plain files inside the bundle, and graphs read no others."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from ..errors import BundleError

MANIFEST = "bundle.json"
"""The file that lists the others, with their digests."""

_CHUNK = 1 << 20
_SETTLED_NS = 5_000_000_000
"""A file that was changed so long ago gets a new time when it is changed again: the coarsest file system counts 2 s."""
_hashed: dict[tuple[int, ...], str] = {}
_KEY = b"location"
_BEFORE = (0x00, 0x08)
"""The last byte of a length of eight in protobuf, however it is written: a string that is just ``location`` follows one
of these, a part of a longer word follows a letter (https://protobuf.dev/programming-guides/encoding)."""


def contained(directory: Path, name: str) -> tuple[Path, int]:
    """The path of a plain file that a bundle lists by ``name``, and its size in bytes.

    Raises BundleError for a name that could lead out of the bundle, a symbolic link anywhere on the way, and what is
    not a plain file (a folder, a pipe, a device).
    """
    if not name.isprintable():  # control characters, and surrogates, which no file's name in UTF-8 has
        raise BundleError(f"{directory}: {name!a} is not a file's name; do not trust it")
    parts = Path(name).parts
    if not parts or name != name.strip() or any(part in ("..", os.curdir) for part in parts):
        raise BundleError(f"{directory}: {name!r} points outside the bundle; do not trust it")
    if Path(name).is_absolute() or "\\" in name or ":" in name:
        raise BundleError(f"{directory}: {name!r} points outside the bundle or is not a file's name; do not trust it")
    path = directory
    for part in parts:
        path = path / part
        try:
            status = path.lstat()
        except OSError:
            raise BundleError(f"{path}: missing from the bundle; copy the whole directory again") from None
        if stat.S_ISLNK(status.st_mode):
            raise BundleError(f"{path}: is a symbolic link; a bundle holds its files itself, copy it with `cp -rL`")
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: is not a plain file; do not trust this bundle")
    return path, status.st_size


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits; raises BundleError where it cannot be read.

    A file that this process has hashed before, and that is the same by its number, size and times, is not read again:
    the stages of a variant have their weights in one file.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            identity = _identity(os.fstat(file.fileno()))
            if identity in _hashed:
                return _hashed[identity]
            while block := file.read(_CHUNK):
                digest.update(block)
            # Windows has no time of the last change, which nothing can set back.
            settled = os.name != "nt" and time.time_ns() - max(identity[3:]) > _SETTLED_NS
            if settled and identity == _identity(os.fstat(file.fileno())):
                _hashed[identity] = digest.hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}") from error
    return digest.hexdigest()


def joined_sha256(paths: Iterable[Path]) -> str:
    """One SHA-256 for several files, of their digests; of one file its own. Raises BundleError as ``sha256`` does."""
    digests = [sha256(path) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def check_external_data(directory: Path, graph: str, allowed: Collection[str]) -> None:
    """Check that the weights a graph keeps in other files are in files of its variant; raises BundleError.

    directory: the bundle's. graph, allowed: the graph and the variant's files of weights, by their names in the bundle.

    An engine follows the names in a graph by itself, from the graph's own folder. In ONNX such a name is an entry of
    field 13 of a tensor, whose field 1 is ``location`` and whose field 2 is the name. Only the shortest way to write an
    entry is taken, with nothing after the name: that is what every exporter writes, and what can be checked without
    parsing the whole graph.
    """
    path = directory / graph
    content = path.read_bytes()
    start = 0
    while (start := content.find(_KEY, start)) >= 0:
        end = start + len(_KEY)
        if start > 0 and content[start - 1] in _BEFORE:
            name = _external_name(content, start, end)
            if name is None or _listed_name(graph, name) not in allowed:
                shown = "a file" if name is None else repr(name[:80])
                raise BundleError(f"{path}: it takes weights from {shown} outside its variant; do not trust it")
        start = end


def _listed_name(graph: str, name: str) -> str | None:
    """The name in the bundle of a file that a graph names from its own folder; None where it leads out of that."""
    written = PurePosixPath(name)
    return None if written.is_absolute() or ".." in written.parts else str(PurePosixPath(graph).parent / written)


def _external_name(content: bytes, start: int, end: int) -> str | None:
    """The file's name in an entry whose key is at ``start``; None where it is not written in the shortest way."""
    size = content[end + 1] if content[end : end + 1] == b"\x12" and end + 1 < len(content) else 0
    head = bytes((13 << 3 | 2, 2 + len(_KEY) + 2 + size, 1 << 3 | 2, len(_KEY))) if 0 < size < 0x70 else None
    if head is None or content[max(0, start - len(head)) : start] != head:
        return None
    return content[end + 2 : end + 2 + size].decode("utf-8", "replace")
