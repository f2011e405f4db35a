"""A user's speech: the rows of a manifest, split into train and dev, and batches of them."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from wav2edge.measure.manifest import Row, part_of, read
from wav2edge.runtime.audio.read import load
from wav2edge.runtime.errors import InputError

from .labels import Writer

RATE = 16000
SHORTEST, LONGEST = 0.3, 30.0
"""Seconds of the shortest and the longest clip that is used."""

FEWEST_SPEAKERS = 5
"""Named speakers from which dev is taken by whole speakers."""


@dataclass(frozen=True)
class Clip:
    """One recording: samples [samples] at 16 kHz in [-1, 1], and what is said in it."""

    samples: NDArray[np.float32]
    text: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE


@dataclass(frozen=True)
class Speech:
    """Clips to train on, clips that say when to stop, and clips that are only measured."""

    train: list[Clip]
    dev: list[Clip]
    test: list[Clip]
    left_out: dict[str, int]
    """How many clips of each split were too short or too long."""


def read_speech(manifest: Path, dev_share: float = 0.15) -> Speech:
    """Read the recordings of a manifest.

    Its own splits dev and test are kept. Where it has no dev, about `dev_share` of train becomes dev: by speaker where
    at least `FEWEST_SPEAKERS` are named, else by recording. Raises InputError for a split of another name.
    """
    rows = read(manifest)
    splits: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    for row in rows:
        splits[_split(row, manifest)].append(row)
    if not splits["dev"]:
        splits["train"], splits["dev"] = _without_dev(splits["train"], dev_share, manifest.parent)
    clips = {name: [Clip(load(row.audio, RATE), row.text) for row in part] for name, part in splits.items()}
    kept = {name: [clip for clip in part if SHORTEST <= clip.seconds <= LONGEST] for name, part in clips.items()}
    left_out = {name: len(clips[name]) - len(kept[name]) for name in clips}
    return Speech(kept["train"], kept["dev"], kept["test"], left_out)


def _split(row: Row, manifest: Path) -> str:
    """Return train, dev or test."""
    named = row.split or "train"
    found = part_of(named)
    if found is None:
        raise InputError(f"{manifest}: split {named!r} of {row.path.name}; give train, dev or test")
    return found


def _without_dev(rows: Sequence[Row], share: float, folder: Path) -> tuple[list[Row], list[Row]]:
    """Return train and dev: the speakers, or recordings, that come first in an order by hash are dev."""
    speakers = {row.speaker for row in rows if row.speaker is not None}
    by_speaker = len(speakers) >= FEWEST_SPEAKERS

    def unit(row: Row) -> str:
        if by_speaker and row.speaker is not None:
            return row.speaker
        return os.path.relpath(row.path, folder)  # the same choice wherever the folder is

    units = sorted({unit(row) for row in rows}, key=lambda name: hashlib.sha256(name.encode()).digest())
    dev = set(units[: max(1, round(share * len(units)))]) if len(units) > 1 else set()
    return [row for row in rows if unit(row) not in dev], [row for row in rows if unit(row) in dev]


@dataclass(frozen=True)
class Batch:
    """Model inputs, and label ids [batch, longest], at least one column, with -100 where a transcript has ended."""

    inputs: dict[str, Tensor]
    labels: Tensor


def batch_of(clips: Sequence[Clip], writer: Writer, extractor: Any) -> Batch:
    """Return some clips as one padded batch."""
    inputs = extractor([clip.samples for clip in clips], sampling_rate=RATE, padding=True, return_tensors="pt")
    labels = [torch.tensor(writer.ids(clip.text), dtype=torch.long) for clip in clips]
    padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    if padded.shape[1] == 0:  # Nothing is said in any of them; the model takes no empty tensor.
        padded = padded.new_full((len(clips), 1), -100)
    return Batch(dict(inputs), padded)


def by_length(clips: Sequence[Clip], seconds: float) -> Iterator[list[int]]:
    """Yield the numbers of clips of like length, in batches of at most `seconds` with padding."""
    batch: list[int] = []
    for number in sorted(range(len(clips)), key=lambda i: len(clips[i].samples)):
        if batch and (len(batch) + 1) * clips[number].seconds > seconds:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def at_another_speed(clip: Clip, generator: random.Random, most: float) -> Clip:
    """Return a clip at a random speed from 1 - `most` to 1 + `most`; pitch moves with it."""
    factor = generator.uniform(1 - most, 1 + most)
    return Clip(soxr.resample(clip.samples, RATE * factor, RATE, quality="LQ"), clip.text)
