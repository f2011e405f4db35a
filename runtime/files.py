"""Files that appear whole or not at all: a reader, or a crash, sees the old content or the new, never half of either.

The new content is written beside the old under a temporary name, flushed to the disk, and renamed; then the folder is
flushed, so that the order holds through a power cut (fsync(2): flushing a file does not flush its directory entry).
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".tmp"
"""The ending of temporary names; a file of this ending in a folder of ours was left by a process that was killed."""


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8. Raises OSError, and then the old file is unchanged."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replace_whole(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replace_whole(path: str | Path) -> Iterator[Path]:
    """Yield the name of an empty file beside ``path`` that replaces it when the block ends without an error.

    A symbolic link is replaced by the file, not followed: in a folder from a stranger it may lead anywhere. The
    permissions are the old file's, else those of a new file. Raises OSError; on any error the old file is unchanged
    and nothing is left.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=TEMPORARY, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions(target))
        flush(temporary)
        os.replace(temporary, target)
        flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder; NTFS journals the rename
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _permissions(target: Path) -> int:
    with contextlib.suppress(OSError):
        mode = target.lstat().st_mode
        if stat.S_ISREG(mode):
            return mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
