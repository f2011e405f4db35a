"""Batches of clips of like length, drawn from weighted groups of clip stores, with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from augment import Augmentation, NoiseBank, disturb, hide
from cache import HOP, RECEPTIVE, features_of, frame_starts
from clips import RATE, ClipStore
from model import LABELS, encode, normalise
from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """One clip in memory maps: where its samples and its target frames lie, and its label ids."""

    store: int
    start: int
    samples: int
    frame: int
    frames: int
    labels: tuple[int, ...]
    text: str
    corpus: str


@dataclass
class Batch:
    """Normalised audio [batch, samples], frame counts, the feature mask, and targets (None where not cached)."""

    audio: Tensor
    frames: Tensor
    mask: Tensor
    labels: Tensor
    label_lengths: Tensor
    features: Tensor | None
    posteriors: Tensor | None
    convolved: Tensor | None
    seconds: float
    texts: list[str] = field(default_factory=list)
    corpora: list[str] = field(default_factory=list)


class Speech:
    """All clips of some stores, grouped by corpus. `refresh` takes in what other processes appended.

    With `channels`, clips come as cached convolution features of that width, and only where those are there.
    """

    def __init__(self, folders: list[Path], targets: bool = True, channels: int = 0, longest: float = 18.0) -> None:
        """Open the stores; clips longer than `longest` seconds are left out."""
        self.folders, self.targets, self.channels, self.longest = folders, targets, channels, longest
        self.stores = [ClipStore(folder) for folder in folders]
        self.refresh()

    def refresh(self) -> None:
        """Map what is on disk now; clips whose targets are not cached yet are left out."""
        self.groups: dict[str, list[Clip]] = {}
        self.audio, self.features, self.posteriors = [], [], []
        self.convolved: list[list[np.ndarray]] = []
        for number, (folder, store) in enumerate(zip(self.folders, self.stores)):
            store.refresh()
            starts = frame_starts(store)
            self.audio.append(store.audio())
            cached = features_of(folder) if self.targets and (folder / "features.f16").exists() else None
            self.features.append(cached)
            path = folder / "posteriors.f16"
            self.posteriors.append(features_of_width(path, len(LABELS)) if self.targets and path.exists() else None)
            ready = len(cached) if cached is not None else 0
            copies = sorted(folder.glob("convolved-*.f16")) if self.channels else []
            self.convolved.append([features_of_width(path, self.channels) for path in copies])
            if self.posteriors[-1] is not None:
                ready = min(ready, len(self.posteriors[-1]))
            if self.channels:
                ready = min([ready, *(len(c) for c in self.convolved[-1])]) if copies else 0
            for i, row in enumerate(store.rows):
                if self.targets and starts[i + 1] > ready:
                    break
                count, text = int(starts[i + 1] - starts[i]), str(row["text"])
                labels = tuple(encode(text))
                if count < 5 or len(labels) + 2 > count or int(row["samples"]) > self.longest * RATE:
                    continue
                place = (number, int(row["start"]), int(row["samples"]), int(starts[i]), count)
                self.groups.setdefault(str(row["corpus"]), []).append(Clip(*place, labels, text, str(row["corpus"])))

    def samples(self, clip: Clip) -> np.ndarray:
        """Return the clip as float32 in [-1, 1]."""
        return self.audio[clip.store][clip.start : clip.start + clip.samples].astype(np.float32) / 32768

    def hours(self) -> dict[str, float]:
        """Hours in each group."""
        return {g: sum(c.samples for c in clips) / RATE / 3600 for g, clips in self.groups.items()}


def features_of_width(path: Path, width: int) -> np.ndarray:
    """Open cached rows of any width as a read-only memory map."""
    return np.memmap(path, np.float16, "r", shape=(path.stat().st_size // (2 * width), width))


class Collator:
    """Turns clips into a batch: disturbs, normalises, pads, and standardises targets."""

    def __init__(
        self, speech: Speech, how: Augmentation, seed: int, scale: tuple[np.ndarray, np.ndarray] | None
    ) -> None:
        """Collate clips of `speech`; `scale` is the mean and deviation of the teacher features."""
        self.speech, self.how, self.scale = speech, how, scale
        self.generator = np.random.default_rng(seed)
        everything = [clip for clips in speech.groups.values() for clip in clips]
        picked = [everything[int(i)] for i in self.generator.integers(len(everything), size=64)]
        loud = how.strength > 0 and not speech.channels
        self.bank = NoiseBank([speech.samples(c) for c in picked], self.generator) if loud else None

    def __call__(self, clips: list[Clip]) -> Batch:
        """Return the batch of some clips."""
        longest, width = max(c.samples for c in clips), max(c.frames for c in clips)
        cached = bool(self.speech.channels)
        audio = np.zeros((len(clips), 0 if cached else longest), np.float32)
        convolved = np.zeros((len(clips), width, self.speech.channels), np.float32) if cached else None
        has_features = all(self.speech.features[c.store] is not None for c in clips) and self.scale is not None
        has_posteriors = all(
            (p := self.speech.posteriors[c.store]) is not None and c.frame + c.frames <= len(p) for c in clips
        )
        features = np.zeros((len(clips), width, 512), np.float32) if has_features else None
        posteriors = np.zeros((len(clips), width, len(LABELS)), np.float32) if has_posteriors else None
        for i, clip in enumerate(clips):
            rows = slice(clip.frame, clip.frame + clip.frames)
            if convolved is not None:
                copies = self.speech.convolved[clip.store]
                convolved[i, : clip.frames] = copies[int(self.generator.integers(len(copies)))][rows]
            else:
                samples = self.speech.samples(clip)
                if self.bank is not None:
                    samples = disturb(samples, self.how, self.bank, self.generator)
                audio[i, : clip.samples] = normalise(samples)
            if features is not None and self.scale is not None:
                mean, deviation = self.scale
                raw = np.asarray(self.speech.features[clip.store][rows], np.float32)
                features[i, : clip.frames] = np.clip((raw - mean) / deviation, -5, 5)
            if posteriors is not None:
                posteriors[i, : clip.frames] = self.speech.posteriors[clip.store][rows]
        labels = [torch.tensor(c.labels, dtype=torch.long) for c in clips]
        return Batch(
            torch.from_numpy(audio),
            torch.tensor([c.frames for c in clips]),
            torch.from_numpy(hide(len(clips), width, self.how, self.generator)),
            torch.nn.utils.rnn.pad_sequence(labels, batch_first=True),
            torch.tensor([len(label) for label in labels]),
            None if features is None else torch.from_numpy(features),
            None if posteriors is None else torch.from_numpy(posteriors),
            None if convolved is None else torch.from_numpy(convolved),
            sum(c.samples for c in clips) / RATE,
            [c.text for c in clips],
            [c.corpus for c in clips],
        )


def length_batches(clips: list[Clip], seconds: float) -> Iterator[list[Clip]]:
    """Cut clips, sorted by length, into batches of at most `seconds` of padded audio."""
    batch: list[Clip] = []
    for clip in sorted(clips, key=lambda c: c.samples):
        if batch and (len(batch) + 1) * clip.samples > seconds * RATE:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def draw(
    speech: Speech, shares: dict[str, float], seconds: float, longest: float, generator: np.random.Generator
) -> list[list[Clip]]:
    """Draw about twelve batches: groups by `shares` of time, clips of at most `longest` s, batches of like length."""
    pools = {g: [c for c in clips if c.samples <= longest * RATE] for g, clips in speech.groups.items()}
    pools = {g: clips for g, clips in pools.items() if clips and shares.get(g, 0) > 0}
    total = sum(shares[g] for g in pools)
    chosen: list[Clip] = []
    for group, clips in pools.items():
        budget = 12 * seconds * shares[group] / total * RATE
        budget *= generator.uniform(0.8, 1.2)
        while budget > 0:
            clip = clips[int(generator.integers(len(clips)))]
            budget -= clip.samples
            chosen.append(clip)
    batches = list(length_batches(chosen, seconds))
    generator.shuffle(batches)  # type: ignore[arg-type]
    return batches


def feature_scale(speech: Speech, generator: np.random.Generator, rows: int = 40000) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every teacher feature over a sample of cached frames."""
    parts = []
    for cached in speech.features:
        if cached is not None and len(cached):
            index = np.sort(generator.integers(len(cached), size=min(rows, len(cached))))
            parts.append(np.asarray(cached[index], np.float32))
    stacked = np.concatenate(parts)
    return stacked.mean(0), stacked.std(0) + 1e-3


assert (RECEPTIVE, HOP) == (400, 320)
