"""A folder beside the bundle for files that are not part of it yet."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError


@contextmanager
def staging(bundle: Bundle) -> Iterator[Path]:
    """Yield a sibling folder that is gone when the block ends, interrupted or not.

    Raises InputError where the bundle cannot be written, and for a full disk during the block. The folder's name holds
    machine and process: what a killed run left, a few hundred megabytes, is removed by the next one.
    """
    place = bundle.path.resolve()
    mark = f".{place.name}.quantize.{platform.node()}."
    if not os.access(place, os.W_OK):
        raise InputError(f"{bundle.path}: the bundle cannot be written; copy it to a place of your own first")
    try:
        for left in place.parent.glob(f"{glob.escape(mark)}*"):
            if not _is_alive(left.name.removeprefix(mark).partition(".")[0]):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{mark}{os.getpid()}.", dir=place.parent))
    except OSError as error:
        raise InputError(f"{place.parent}: cannot be written ({error.strerror or error})") from error
    try:
        yield folder
    except OSError as error:
        raise InputError(
            f"{place.parent}: cannot be written ({error.strerror or error}); the bundle is unchanged, free some space"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: str) -> bool:
    """Whether a process of this machine runs; a non-numeric process number counts as alive."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True
