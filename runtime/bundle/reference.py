"""selftest.npz: real clips in 16 bits, the outputs of the fp32 variant for each clip alone, and the text."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, InputError, first_line
from .read import SELFTEST, Bundle

Outputs = dict[str, NDArray[np.generic]]
"""The outputs of one clip by name, without the batch axis; those of the archive come with ``clip`` and ``text``."""

_MAX_BYTES = 512 << 20
"""Largest size of an archive, unpacked: two clips of 30 s with the outputs of a vocabulary of 20 000 have 250 MB."""
_DAMAGED = (zipfile.BadZipFile, zlib.error)


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


def _check_sizes(path: Path) -> None:
    """Raise BundleError for an archive that unpacks to too much, or whose arrays announce more than it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > _MAX_BYTES:
                raise BundleError(f"{path}: unpacks to more than {_MAX_BYTES >> 20} MB; do not trust it")
            for entry in entries:
                with archive.open(entry) as file:
                    _check_header(file, entry.file_size)
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, *_DAMAGED) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: damaged ({first_line(error)}); copy the bundle again") from error


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise ValueError for an array of more bytes than its file has: numpy allocates them before it reads."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    except Exception as error:  # numpy reads a header as Python's source, whose parser has errors of many classes
        raise ValueError(first_line(error)) from error
    if kind.hasobject or any(length < 0 for length in shape) or math.prod(shape) * kind.itemsize > size:
        raise ValueError("an array whose header does not fit its content")


def _check_types(clips: list[Outputs], bundle: Bundle) -> None:
    """Raise ValueError for clips that are not samples, and for outputs that are not numbers on the output's axes."""
    for number, clip in enumerate(clips):
        if clip["clip"].dtype != np.int16 or clip["clip"].ndim != 1 or len(clip["clip"]) < bundle.spec.min_samples:
            raise ValueError(f"clip {number} is not 16-bit samples of one frame or more")
        for output in bundle.spec.outputs:
            value = clip[output.name]
            if value.dtype.kind != "f" or value.ndim != len(output.axes) - 1 or not np.isfinite(value).all():
                raise ValueError(
                    f"{output.name} of clip {number} does not have the type or axes that bundle.json states"
                )


def read_archive(bundle: Bundle) -> list[Outputs]:
    """The archive's clips with their outputs: ``clip`` int16 [samples], ``text`` and each output by name.

    Raises BundleError where the bundle has no archive or it is damaged, InputError where it holds no clips.
    """
    path = bundle.file(SELFTEST)
    _check_sizes(path)
    names = [output.name for output in bundle.spec.outputs] + (["text"] if bundle.spec.head == "ctc" else [])
    try:
        with np.load(path, allow_pickle=False) as archive:
            count = sum(key.startswith("clip_") for key in archive.files)
            found = [
                {"clip": archive[clip_key(i)], **{name: archive[output_key(i, name)] for name in names}}
                for i in range(count)
            ]
        _check_types(found, bundle)
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        *_DAMAGED,
    ) as error:
        raise BundleError(f"{path}: damaged ({first_line(error)}); copy the bundle again") from error
    if not found:
        raise InputError(f"{path}: it holds no clips; export the model again")
    return found
