"""A folder beside the bundle for files that are not part of it yet."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from wav2edge.runtime import files
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError

_OF_THE_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG))
"""A full or read-only disk: writing to an open file raises them without the file's name."""


@contextmanager
def staging(bundle: Bundle) -> Iterator[Path]:
    """Yield a sibling folder that is gone when the block ends, interrupted or not.

    Files of a killed run (a few hundred megabytes) are removed first. Raises InputError where the bundle or the folder
    cannot be written, and for a full disk during the block; other errors of the block, such as that of a closed pipe
    that a callback writes to, pass.
    """
    place = bundle.directory.resolve()
    if not os.access(place, os.W_OK):
        raise InputError(f"{bundle.path}: the bundle cannot be written; copy it to a folder that you can write to")
    with ExitStack() as held:
        try:
            folder = held.enter_context(files.staging(place.with_name(f"{place.name}.quantize")))
        except OSError as error:
            raise _unwritable(place.parent, error) from error
        try:
            yield folder
        except OSError as error:
            if error.errno not in _OF_THE_DISK and not _is_inside(error.filename, folder):
                raise
            raise _unwritable(place.parent, error) from error


def _is_inside(name: object, folder: Path) -> bool:
    """Whether the file name that an OSError carries (a string, or bytes, a number or None) is of a file in a folder."""
    return isinstance(name, (str, os.PathLike)) and Path(name).is_relative_to(folder)


def _unwritable(place: Path, error: OSError) -> InputError:
    why = error.strerror or error
    return InputError(f"{place}: cannot be written ({why}); the bundle is unchanged, free some space")
