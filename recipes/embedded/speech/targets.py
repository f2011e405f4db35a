"""The teacher's targets of a clip store, as files of float16 rows with one row for each frame of its clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..frames import count_frames
from ..labels import LABELS
from .clips import ClipStore

FEATURES = "features.f16"
"""Features of Whisper's encoder [frames, 512]."""

POSTERIORS = "posteriors.f16"
"""Label probabilities [frames, labels]; they spell the transcript after `teacher.constrain`."""

FREE_POSTERIORS = "posteriors-free.f16"
"""What the teacher's head says by itself [frames, labels], kept by `teacher.constrain`."""

WIDTHS = {FEATURES: 512, POSTERIORS: len(LABELS), FREE_POSTERIORS: len(LABELS)}


def frame_starts(store: ClipStore) -> np.ndarray:
    """Return the first row of every clip, and the number of rows at the end [clips + 1]."""
    counts = [count_frames(int(str(row["samples"]))) for row in store.rows]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def rows_written(path: Path) -> int:
    """Return how many whole rows a file of targets has; 0 where there is no such file."""
    return path.stat().st_size // (2 * WIDTHS[path.name]) if path.exists() else 0


def write_rows(path: Path, rows: np.ndarray) -> None:
    """Write a file of targets [rows, width] whole or not at all."""
    whole = path.with_suffix(".tmp")
    rows.astype(np.float16).tofile(whole)
    whole.replace(path)


def open_rows(path: Path, rows: int | None = None) -> np.ndarray:
    """Open the first `rows` of a file of targets (default: all) as a read-only memory map [rows, width]."""
    rows = rows_written(path) if rows is None else rows
    shape = (rows, WIDTHS[path.name])
    return np.memmap(path, np.float16, "r", shape=shape) if rows else np.zeros(shape, np.float16)
