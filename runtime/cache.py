"""The cache: what is made on a machine and stays there (engines, tuning), never inside the bundle.

The directory is ``$WAV2EDGE_CACHE``, else ``$XDG_CACHE_HOME/wav2edge``, else ``~/.cache/wav2edge``. Files appear whole
or not at all (``atomic_write``, ``atomic_directory``), and ``lock`` lets two processes build one thing once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import files
from .errors import InputError

ENVIRONMENT = "WAV2EDGE_CACHE"
_POLL = 0.1
"""Seconds between two tries for a lock that another process holds."""


def directory(*parts: str) -> Path:
    """A folder of the cache, made if missing; raises InputError naming WAV2EDGE_CACHE where it cannot be made."""
    path = root().joinpath(*parts)
    with _translated(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def root() -> Path:
    """The cache directory, whether it exists or not."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path in the variable is invalid and to be ignored.
    if os.path.isabs(home):
        return Path(home) / "wav2edge"
    try:
        return Path.home() / ".cache" / "wav2edge"
    except RuntimeError:  # a user without a home, as in containers
        return Path(tempfile.gettempdir()) / f"wav2edge-{os.getuid()}"


def key(parts: Mapping[str, Any]) -> str:
    """A short key (20 hexadecimal digits) of JSON values; the same values in any order give the same key."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:20]


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file of the cache whole or not at all, its folder made if missing; raises InputError."""
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, content)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes ``path`` when the block ends without an error; raises InputError.

    An older ``path`` is replaced. What a killed process leaves has another name, is never trusted, and is removed by
    the next one.
    """
    with _translated(path), files.staging(path) as folder:
        made = folder / "made"
        made.mkdir()
        yield made
        files.flush_tree(made)
        if path.is_dir():
            files.exchange(made, path)  # the old one is removed with the staging folder
        else:
            os.rename(made, path)
        files.flush(path.parent)


@contextlib.contextmanager
def lock(path: Path, waiting: Callable[[], None] | None = None, timeout: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (a file of its own, such as ``X.lock``) for the block.

    The operating system drops the lock with the process that holds it, also after ``kill -9``, so a lock file that
    is left means nothing. After taking the lock look again whether the work is done already.
    waiting: called once when another process holds it. timeout: seconds to wait (None: as long as it takes).
    Raises InputError where the file cannot be made, TimeoutError when the time is over.
    """
    import fcntl  # POSIX only: imported where it is used, so that the package can be read elsewhere

    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        announced = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not announced and waiting is not None:
                    waiting()
                announced = True
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{path}: another process holds it for more than {timeout:g} s") from None
                time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a cache file; None where it is missing, unreadable or damaged (then it is made again)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def atomic_write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object as ``atomic_write`` does; raises InputError."""
    atomic_write(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: the cache cannot be written ({error.strerror or error}); "
            f"set {ENVIRONMENT} to a directory that can, with enough free space"
        ) from error
