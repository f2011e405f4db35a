"""The cache: what is made on a machine and stays there (engines, tuning), never inside the bundle.

The directory is ``$WAV2EDGE_CACHE``, else ``$XDG_CACHE_HOME/wav2edge``, else ``~/.cache/wav2edge``. Files appear whole
or not at all (``atomic_write``), and ``lock`` lets two processes build one thing once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from . import files
from .errors import InputError, first_line

ENVIRONMENT = "WAV2EDGE_CACHE"
_DIGESTS = "digests.json"
_POLL = 0.1
"""Seconds between two tries for a lock that another process holds."""


def directory(*parts: str) -> Path:
    """A folder of the cache, made if missing, which others cannot write to.

    Raises InputError naming WAV2EDGE_CACHE where it cannot be made, and for a cache directory that belongs to another
    user or that others may write to: what is compiled is run, so it must not come from them.
    """
    place = root()
    path = place.joinpath(*parts)
    with _translated(path):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_open_to_others(place):
            raise InputError(
                f"{place}: belongs to another user, or others may write to it, so it is not used as the cache; set "
                f"{ENVIRONMENT} to a directory that only you can write to (chmod 700)"
            )
        path.mkdir(parents=True, exist_ok=True)
    return path


def others_may_write() -> bool:
    """Whether what the cache holds may come from others, so that nothing is to be read from it; raises as ``root``."""
    try:
        return _is_open_to_others(root())
    except OSError:  # nothing is there
        return False


def _is_open_to_others(place: Path) -> bool:
    if not hasattr(os, "geteuid"):  # Windows: the folder is in the user's profile
        return False
    status = place.stat()
    return status.st_uid not in (os.geteuid(), 0) or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def root() -> Path:
    """The cache directory, whether it exists or not; raises InputError for a home directory that does not exist."""
    if named := os.environ.get(ENVIRONMENT):
        try:
            return Path(named).expanduser()
        except RuntimeError as error:
            raise InputError(f"{ENVIRONMENT}={named}: {first_line(error).rstrip('.')}; give a directory") from None
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path in the variable is invalid and to be ignored.
    if os.path.isabs(home):
        return Path(home) / "wav2edge"
    try:
        return Path.home() / ".cache" / "wav2edge"
    except RuntimeError:  # a user without a home, as in containers
        if sys.platform == "win32":  # whose temporary folder is the user's own
            return Path(tempfile.gettempdir()) / "wav2edge"
        return Path(tempfile.gettempdir()) / f"wav2edge-{os.getuid()}"


def key(parts: Mapping[str, object]) -> str:
    """A short key (20 hexadecimal digits) of JSON values; the same values in any order give the same key."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:20]


def compiled(engine: str, digests: Mapping[str, str], *parts: str) -> Path:
    """The folder of what an engine compiled of a variant whose files have these digests; raises as ``directory``."""
    return directory(engine, key(dict(digests)), *parts)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file of the cache whole or not at all, its folder made if missing; raises InputError."""
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, content)


@contextlib.contextmanager
def lock(path: Path, waiting: Callable[[], None] | None = None, timeout: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (a file for this alone, such as ``X.lock``) for the block.

    The operating system releases the lock when its process ends, also after ``kill -9``, so a lock file that is left
    locks nothing. After taking the lock, check again whether another process has done the work.
    waiting: called once when another process holds it. timeout: seconds to wait (None: as long as it takes).
    Raises InputError where the file cannot be made, TimeoutError when the time is over.
    """
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        announced = False
        while True:
            if _locked(handle):
                break
            if not announced and waiting is not None:
                waiting()
            announced = True
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{path}: another process holds it for more than {timeout:g} s")
            time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, object] | None:
    """The JSON object in a cache file; None where it is missing, unreadable or damaged (then it is made again)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def atomic_write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write a JSON object as ``atomic_write`` does; raises InputError."""
    atomic_write(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def drop_changed(folder: Path, pattern: str) -> dict[str, str]:
    """Remove the files of a cache folder whose SHA-256 is not the one that ``record_digests`` kept.

    For files that a library writes by itself, such as OpenVINO's compiled models: a damaged one is made again. Returns
    the digests of those that stay, by name.
    """
    known, kept = read_json(folder / _DIGESTS) or {}, {}
    for path in folder.glob(pattern):
        digest = _digest(path)
        if digest is not None and known.get(path.name) == digest:
            kept[path.name] = digest
            continue
        with contextlib.suppress(OSError):
            path.unlink()
    return kept


def record_digests(folder: Path, pattern: str, known: Mapping[str, str]) -> dict[str, str]:
    """Keep the SHA-256 of the files of a cache folder, for ``drop_changed``, and return them by name.

    known: the digests of files that have not changed since, by name, which are not read again. Raises InputError.
    """
    names = (path.name for path in sorted(folder.glob(pattern)))
    digests = {name: digest for name in names if (digest := known.get(name) or _digest(folder / name)) is not None}
    if digests != read_json(folder / _DIGESTS):
        atomic_write_json(folder / _DIGESTS, digests)
    return digests


def unwritable(path: Path, reason: str) -> InputError:
    """The error for a place of the cache that cannot be written; reason: why, in words."""
    return InputError(
        f"{path}: the cache cannot be written ({reason}); "
        f"set {ENVIRONMENT} to a directory that can, with enough free space"
    )


def _digest(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


def _locked(handle: int) -> bool:
    """Take the lock of an open file, which ends with the process; False where another process holds it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
