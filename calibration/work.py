"""Keep what a run has computed in files, so that the same command resumes after Ctrl-C or ``kill -9``.

Each part is a file that appears whole or not at all; one that is damaged, or of another content, counts as missing and
is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime import cache
from wav2edge.runtime.errors import Wav2EdgeError

EVERY = 20.0
"""Seconds of computing that a killed run loses at most: less than the 30 s between two lines of progress."""

Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]


class Work:
    """The parts of a run that are done; without a folder nothing is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: used by this run only."""
        self.folder = folder
        self._written = time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether an earlier run left anything."""
        return self.folder is not None and any(self.folder.glob("*.npz"))

    def read(self, part: str) -> Arrays | None:
        """A part's arrays; None where it is missing, damaged, or another part."""
        if self.folder is None:
            return None
        try:
            with np.load(self._file(part), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError):
            return None
        return arrays if str(arrays.pop("part", "")) == part else None

    def write(self, part: str, arrays: Arrays) -> None:
        """Keep a part, in place of an older one; where the cache cannot be written, no further part is kept."""
        if self.folder is None:
            return
        file = io.BytesIO()
        save = cast("Callable[..., None]", np.savez)  # numpy's types take the names of arrays for its options
        save(file, part=np.array(part), **arrays)
        try:
            cache.atomic_write(self._file(part), file.getvalue())
        except Wav2EdgeError:
            self.folder = None
        self._written = time.monotonic()

    def remove(self, part: str) -> None:
        """Remove a part."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                self._file(part).unlink()

    def is_due(self) -> bool:
        """Whether ``EVERY`` seconds have passed since something was kept."""
        return self.folder is not None and time.monotonic() - self._written >= EVERY

    def _file(self, part: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(part.encode()).hexdigest()[:32]}.npz"


class Series:
    """Arrays that are computed one after the other, kept in pieces."""

    def __init__(self, work: Work, name: str) -> None:
        """Read the arrays that are kept."""
        self.arrays: list[NDArray[np.float32]] = []
        self._work, self._name = work, name
        self._pieces = 0
        while (piece := work.read(f"{name} {self._pieces}")) is not None:
            self.arrays += [np.asarray(piece[str(place)], np.float32) for place in range(len(piece))]
            self._pieces += 1
        self._kept = len(self.arrays)

    def add(self, array: NDArray[np.float32]) -> None:
        """Take the next array."""
        self.arrays.append(array)
        if self._work.is_due():
            self.close()

    def close(self) -> None:
        """Keep the arrays that are not kept yet."""
        if new := self.arrays[self._kept :]:
            self._work.write(f"{self._name} {self._pieces}", {str(place): array for place, array in enumerate(new)})
            self._pieces, self._kept = self._pieces + 1, len(self.arrays)

    def drop(self) -> None:
        """Remove it."""
        for piece in range(self._pieces):
            self._work.remove(f"{self._name} {piece}")


class Pass:
    """A pass over recordings whose state is kept after some of them."""

    def __init__(self, work: Work, name: str, state: Callable[[], Arrays]) -> None:
        """state: gives the state after the recordings that are done."""
        self.done = 0
        self._work, self._name, self._state = work, name, state

    def resume(self, restore: Callable[[Arrays], None]) -> None:
        """Restore the state that is kept; ``restore`` raises KeyError or ValueError for the state of another pass."""
        kept = self._work.read(self._name)
        if kept is not None:
            with contextlib.suppress(KeyError, ValueError, TypeError):
                done = int(kept["done"])
                restore(kept)
                self.done = done

    def note(self, done: int, last: bool) -> None:
        """Call after ``done`` recordings; ``last``: these are all."""
        if last or self._work.is_due():
            self._work.write(self._name, {**self._state(), "done": np.array(done)})


def names_match(arrays: Arrays, names: Sequence[str]) -> None:
    """Raise ValueError where a part was kept for other names."""
    if arrays["names"].tolist() != list(names):
        raise ValueError("of another graph")
