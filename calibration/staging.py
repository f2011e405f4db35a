"""A folder beside the bundle for files that are not part of it yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wav2edge.runtime import files
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError


@contextmanager
def staging(bundle: Bundle) -> Iterator[Path]:
    """Yield a sibling folder that is gone when the block ends, interrupted or not.

    Files of a killed run (a few hundred megabytes) are removed first. Raises InputError where the bundle or the folder
    cannot be written, and for a full disk during the block.
    """
    place = bundle.directory.resolve()
    if not os.access(place, os.W_OK):
        raise InputError(f"{bundle.path}: the bundle cannot be written; copy it to a folder that you can write to")
    try:
        with files.staging(place.with_name(f"{place.name}.quantize")) as folder:
            yield folder
    except OSError as error:
        raise InputError(
            f"{place.parent}: cannot be written ({error.strerror or error}); the bundle is unchanged, free some space"
        ) from error
