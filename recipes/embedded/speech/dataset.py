"""All clips of some stores in memory maps, grouped by corpus, with the teacher's targets where they are cached."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..frames import EDGE, RATE
from ..labels import encode
from .clips import ClipStore
from .targets import FEATURES, POSTERIORS, frame_starts, open_rows

LONGEST = 18.0
"""Seconds of the longest clip that a student is trained on."""


@dataclass(frozen=True)
class Clip:
    """One clip in memory maps: its store, first sample, samples, first target row, target rows and label ids."""

    store: int
    start: int
    samples: int
    frame: int
    frames: int
    labels: tuple[int, ...]
    text: str
    corpus: str


class Dataset:
    """All clips of some stores, grouped by corpus. `refresh` adds what other processes appended."""

    def __init__(
        self, folders: Sequence[Path], targets: bool = True, longest: float = LONGEST, portion: float = 1.0
    ) -> None:
        """Open the stores; clips longer than `longest` seconds are left out, and all but a `portion` of the others."""
        self.folders, self.targets, self.longest, self.portion = list(folders), targets, longest, portion
        self.stores = [ClipStore(folder) for folder in folders]
        self.refresh()

    def refresh(self) -> None:
        """Map what is on disk now; clips whose targets are not cached yet are left out.

        Another thread may be making batches meanwhile: it keeps the old maps until the new, longer ones are complete.
        Stores only grow, so the place of a clip drawn earlier stays valid.
        """
        groups: dict[str, list[Clip]] = {}
        audio, features, posteriors = [], [], []
        for number, (folder, store) in enumerate(zip(self.folders, self.stores)):
            store.refresh()
            starts = frame_starts(store)
            audio.append(store.audio())
            features.append(self._cached(folder / FEATURES))
            posteriors.append(self._cached(folder / POSTERIORS))
            ready = min((len(rows) for rows in (features[-1], posteriors[-1]) if rows is not None), default=0)
            for i, row in enumerate(store.rows):
                if self.targets and starts[i + 1] > ready:
                    break
                clip = self._clip(number, row, int(starts[i]), int(starts[i + 1]))
                if clip is not None:
                    groups.setdefault(clip.corpus, []).append(clip)
        self.groups, self.audio, self.features, self.posteriors = groups, audio, features, posteriors

    def _cached(self, path: Path) -> np.ndarray | None:
        return open_rows(path) if self.targets and path.exists() else None

    def _clip(self, store: int, row: dict[str, object], first: int, end: int) -> Clip | None:
        """Return a row of a store as a clip; None where it is too short for its labels, too long, or not drawn."""
        count, text, samples = end - first, str(row["text"]), int(str(row["samples"]))
        labels = tuple(encode(text))
        usable = count - 2 * EDGE
        if usable < 5 or len(labels) + 2 > usable or samples > self.longest * RATE:
            return None
        if random.Random(f"{row['text']}/{row['start']}").random() >= self.portion:
            return None
        return Clip(store, int(str(row["start"])), samples, first, count, labels, text, str(row["corpus"]))

    def samples(self, clip: Clip) -> np.ndarray:
        """Return the samples of a clip [samples] as float32 in [-1, 1]."""
        return self.audio[clip.store][clip.start : clip.start + clip.samples].astype(np.float32) / 32768

    def feature_rows(self, clip: Clip) -> np.ndarray | None:
        """Return the teacher's features of a clip [frames, 512], or None where they are not cached."""
        return _rows(self.features[clip.store], clip)

    def posterior_rows(self, clip: Clip) -> np.ndarray | None:
        """Return the teacher's label probabilities of a clip [frames, labels], or None where they are not cached."""
        return _rows(self.posteriors[clip.store], clip)

    def hours(self) -> dict[str, float]:
        """Return the hours of speech of each corpus."""
        return {corpus: sum(c.samples for c in clips) / RATE / 3600 for corpus, clips in self.groups.items()}

    def clips(self) -> list[Clip]:
        """Return all clips, corpus by corpus."""
        return [clip for clips in self.groups.values() for clip in clips]

    def feature_scale(self, generator: np.random.Generator, rows: int = 40000) -> tuple[np.ndarray, np.ndarray] | None:
        """Return mean and deviation [512] of the teacher's features over a sample of rows; None without any cached."""
        parts = []
        for cached in self.features:
            if cached is not None and len(cached):
                index = np.sort(generator.integers(len(cached), size=min(rows, len(cached))))
                parts.append(np.asarray(cached[index], np.float32))
        if not parts:
            return None
        sample = np.concatenate(parts)
        return sample.mean(0), sample.std(0) + 1e-3


def _rows(cached: np.ndarray | None, clip: Clip) -> np.ndarray | None:
    if cached is None or clip.frame + clip.frames > len(cached):
        return None
    return cached[clip.frame : clip.frame + clip.frames]
