"""Give back the memory of a model's file that is read once, while its weights are packed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_DONTNEED = 4  # MADV_DONTNEED of Linux
_EVERY = 0.01  # seconds


@contextlib.contextmanager
def releasing(*places: Path) -> Iterator[None]:
    """``release`` every 10 ms while the block runs, and once after it."""
    over = threading.Event()

    def release_often() -> None:
        while not over.wait(_EVERY) and release(*places):
            pass

    helper = threading.Thread(target=release_often, name="wav2edge-release", daemon=True)
    helper.start()
    try:
        yield
    finally:
        over.set()
        helper.join()
        release(*places)


def release(*places: Path) -> int:
    """Drop the pages of files that this process maps read-only; returns the bytes of these mappings.

    places: the files, or folders of them, without symbolic links. What is read of them later comes from the file again:
    so they must not hold programs and libraries, which the loader changes in memory and then maps read-only.
    Only Linux tells what is mapped; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return 0
    try:
        mapped = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
        library = ctypes.CDLL(None)
    except OSError:
        return 0
    names = {str(place) for place in places}
    inside = tuple(os.path.join(name, "") for name in names)
    released = 0
    for line in mapped:
        span, access, *_ = parts = line.split(maxsplit=5)
        if len(parts) == 6 and "w" not in access and (parts[5] in names or parts[5].startswith(inside)):
            begin, end = (int(place, 16) for place in span.split("-"))
            if library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED) == 0:
                released += end - begin
    return released
