"""Files and folders that appear whole or not at all: a reader, or a crash, sees the old content or the new.

The new content is written beside the old under a temporary name, flushed to the disk, and renamed; then the folder is
flushed, so that the order holds through a power cut (fsync(2): flushing a file does not flush its directory entry).

A process locks each of its temporary files (flock(2): the system releases the lock when the process ends, also after
``kill -9``), so the next writer of the same name can tell which ones an ended process left, and removes them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

TEMPORARY = ".tmp"
"""The ending of temporary names."""

_RANDOM = re.compile("[a-z0-9_]{8}")
"""What tempfile puts between the beginning and the ending of a name."""

_LONGEST_NAME = 200  # bytes of a target's name in its temporary's, of the 255 that file systems take

_OF_THE_DISK = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG)
)

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def occupied(destination: Path) -> InputError:
    """The error for a destination that exists and that the caller did not allow to replace."""
    return InputError(f"{destination}: already exists; choose another name, or replace it with overwrite=True")


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8. Raises OSError, and then the old file is unchanged."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replace_whole(path) as temporary:
        temporary.write_bytes(data)


def write_output(path: Path, text: str, name: str) -> None:
    """Write the file of the recording ``name``, whole or not at all.

    Raises InputError where it cannot be written, and OSError where the files of the others cannot be either.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        if concerns_others(error):
            raise
        why = f"{path} cannot be written ({error.strerror})"
        if error.errno == errno.ENAMETOOLONG:
            why = "the name of its file would be too long; rename the recording"
        raise InputError(f"{name}: {why}") from error


@contextlib.contextmanager
def replace_whole(path: str | Path) -> Iterator[Path]:
    """Yield the name of an empty file beside ``path`` that replaces it when the block ends without an error.

    A symbolic link is replaced by the file, not followed: in a folder of unknown origin it may lead anywhere. The
    permissions are the old file's, else those of a new file. Raises OSError; on any error the old file is unchanged
    and nothing is left.
    """
    target = Path(path)
    with _errors_name(target):
        remove_left_over(target)
        handle, temporary = _own_temporary(target, folder=False)
        try:
            yield temporary
            temporary.chmod(_permissions(target))
            flush(temporary)
            os.replace(temporary, target)
            flush(target.parent)
        finally:
            if handle is not None:
                os.close(handle)
            temporary.unlink(missing_ok=True)


def concerns_others(error: OSError) -> bool:
    """Whether other files cannot be written either: the disk is full or damaged, or the process has no more files."""
    return error.errno in _OF_THE_DISK


@contextlib.contextmanager
def staging(target: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target``; what is left of it at the end is removed.

    Raises OSError where it cannot be made. The folder's name is absolute: a relative one may name something else once
    ``exchange`` has moved the working directory.
    """
    place = fixed(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(place)
    handle, folder = _own_temporary(place, folder=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def exchange(first: Path, second: Path) -> None:
    """Swap two folders of one file system, so that each name holds the one or the other at every moment.

    By renameat2(2) with RENAME_EXCHANGE. Where the system or the file system does not offer it, by three renames: a
    crash between them leaves ``second`` missing and its old content in a folder beside it. Raises OSError.
    """
    first, second = fixed(first), fixed(second)
    if _exchange_at_once(first, second):
        return
    with staging(second) as aside:
        os.rename(second, aside / "old")
        try:
            os.rename(first, second)
        except OSError:
            os.rename(aside / "old", second)
            raise
        os.rename(aside / "old", first)


def fixed(path: str | Path) -> Path:
    """A path as an absolute one that has a name: neither the working directory nor a link above it changes it."""
    given = Path(path)
    return given.resolve() if given.name in ("", "..") else given.parent.resolve() / given.name


def remove_left_over(target: Path) -> None:
    """Remove the temporary files of ``target`` that a killed process left."""
    with contextlib.suppress(OSError):
        begin = len(_prefix(target.name))
        for path in target.parent.glob(f"{_glob_escaped(_prefix(target.name))}*{TEMPORARY}"):
            if _RANDOM.fullmatch(path.name[begin : -len(TEMPORARY)]):
                _remove_unlocked(path)


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    if sys.platform == "win32" and path.is_dir():  # Windows cannot open a folder; NTFS journals the rename
        return
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)  # Windows flushes what it may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Wait until every file below a folder, and the folders, are on the disk."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


@contextlib.contextmanager
def _errors_name(target: Path) -> Iterator[None]:
    """Let errors of a target's temporary name the target; so too those without a name, as write(2) knows none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(target)
        elif os.path.basename(str(error.filename)).startswith(_prefix(target.name)):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _exchange_at_once(first: Path, second: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # the C library or the file system does not offer it
        return False
    names = os.fsencode(first), os.fsencode(second)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _remove_unlocked(path: Path) -> None:
    handle = None
    try:
        status = path.lstat()
        mode = status.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or not _is_own(status):
            return
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        if not _lock(handle):
            return
        if stat.S_ISDIR(mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:  # another user's file, or removed meanwhile
        return
    finally:
        if handle is not None:
            os.close(handle)


def _is_own(status: os.stat_result) -> bool:
    """Whether a file belongs to this process's user: root may remove those of others, who may still need them."""
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def _own_temporary(target: Path, folder: bool) -> tuple[int | None, Path]:
    """A new temporary beside a target, empty and locked: its open handle (None where there is none) and its name."""
    while True:
        if folder:
            path = Path(tempfile.mkdtemp(prefix=_prefix(target.name), suffix=TEMPORARY, dir=target.parent))
            try:
                handle = None if sys.platform == "win32" else os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # another writer removed it as left over
                continue
        else:
            handle, name = tempfile.mkstemp(prefix=_prefix(target.name), suffix=TEMPORARY, dir=target.parent)
            path = Path(name)
            if sys.platform == "win32":  # which has no such locks, and cannot rename a file that is open
                os.close(handle)
                handle = None
        if handle is None:
            return None, path
        # Another writer may take it for left over before it is locked: then that one holds the lock, or removed it.
        if _lock(handle) is not False and path.exists():
            return handle, path
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Take the lock of an open file; False where another process holds it, None where there are no such locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _prefix(name: str) -> str:
    """How a target's temporaries begin: with its name, of which a long one is shortened, as theirs are longer."""
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_NAME:
        name = os.fsdecode(encoded[:_LONGEST_NAME]) + hashlib.sha256(encoded).hexdigest()[:12]
    return f".{name}."


def _glob_escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _permissions(target: Path) -> int:
    with contextlib.suppress(OSError):
        mode = target.lstat().st_mode
        if stat.S_ISREG(mode):
            return mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
