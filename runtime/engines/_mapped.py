"""Give back the memory of a model's file that is read once, while its weights are packed."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_DONTNEED = 4  # MADV_DONTNEED of Linux
_EVERY = 0.01  # seconds


@contextlib.contextmanager
def releasing(*folders: Path) -> Iterator[None]:
    """``release`` every 10 ms while the block runs, and once after it."""
    over = threading.Event()

    def release_often() -> None:
        while not over.wait(_EVERY) and release(*folders):
            pass

    helper = threading.Thread(target=release_often, name="wav2edge-release", daemon=True)
    helper.start()
    try:
        yield
    finally:
        over.set()
        helper.join()
        release(*folders)


def release(*folders: Path) -> int:
    """Drop the pages of files in these folders that this process maps read-only; returns the bytes of these mappings.

    What is read of them later comes from the file again. Only Linux tells what is mapped; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return 0
    try:
        mapped = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
        library = ctypes.CDLL(None)
    except OSError:
        return 0
    released = 0
    for line in mapped:
        span, access, *_ = parts = line.split(maxsplit=5)
        if len(parts) == 6 and "w" not in access and any(map(Path(parts[5]).is_relative_to, folders)):
            begin, end = (int(place, 16) for place in span.split("-"))
            if library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _DONTNEED) == 0:
                released += end - begin
    return released
