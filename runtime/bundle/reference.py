"""selftest.npz: real clips in 16 bits, the outputs of the fp32 variant for each clip alone, and the text."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, InputError, first_line
from .read import SELFTEST, Bundle

Outputs = dict[str, NDArray[np.generic]]
"""The outputs of one clip by name, without the batch axis; kept ones come with ``clip`` and ``text``."""


def clip_key(index: int) -> str:
    """The archive's name of a clip."""
    return f"clip_{index}"


def output_key(index: int, name: str) -> str:
    """The archive's name of an output (or of ``text``) of a clip."""
    return f"{name}_{index}"


def write_archive(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the archive."""
    save = cast("Callable[..., None]", np.savez_compressed)  # numpy's types take the names of arrays for its options
    save(path, **arrays)


def read_archive(bundle: Bundle) -> list[Outputs]:
    """The kept clips with their outputs: ``clip`` int16 [samples], ``text`` and each output by name.

    Raises BundleError where the bundle has no archive or it is damaged, InputError where it holds no clips.
    """
    path = bundle.file(SELFTEST)
    names = [output.name for output in bundle.spec.outputs] + (["text"] if bundle.spec.head == "ctc" else [])
    try:
        with np.load(path, allow_pickle=False) as archive:
            count = sum(key.startswith("clip_") for key in archive.files)
            found = [
                {"clip": archive[clip_key(i)], **{name: archive[output_key(i, name)] for name in names}}
                for i in range(count)
            ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: damaged ({first_line(error)}); copy the bundle again") from error
    if not found:
        raise InputError(f"{path}: it holds no clips; export the model again")
    return found
