"""Stretches of clips of one length or less, for heads that judge a whole input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..frames import RATE
from ..speech.augment import Augmentation, NoiseBank, disturb
from ..speech.batches import normalize


def stretch(samples: np.ndarray, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Return a random stretch of a clip [samples] of at most `seconds`."""
    length = int(seconds * RATE)
    if len(samples) <= length:
        return samples
    start = int(generator.integers(len(samples) - length + 1))
    return samples[start : start + length]


def padded(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return normalised clips as one batch [batch, samples], and its attention mask."""
    audio = np.zeros((len(clips), max(map(len, clips))), np.float32)
    mask = np.zeros(audio.shape, np.int64)
    for row, valid, clip in zip(audio, mask, clips):
        row[: len(clip)], valid[: len(clip)] = normalize(clip), 1
    return torch.from_numpy(audio), torch.from_numpy(mask)


class Disturber:
    """Adds noise, room and colour to clips, as in the training of the encoder."""

    def __init__(self, clips: Sequence[np.ndarray], generator: np.random.Generator, strength: float = 1.0) -> None:
        """Make noises and babble from some clips."""
        self.augmentation, self.generator = Augmentation(strength=strength), generator
        picked = [clips[int(i)] for i in generator.integers(len(clips), size=32)]
        self.noises = NoiseBank(picked, generator)

    def __call__(self, clip: np.ndarray) -> np.ndarray:
        """Return a clip [samples] disturbed anew."""
        return disturb(clip, self.augmentation, self.noises, self.generator)


def sliding(samples: np.ndarray, seconds: float, hop: float) -> Iterator[np.ndarray]:
    """Yield windows of a recording [samples], each `seconds` long, `hop` seconds apart."""
    length, step = int(seconds * RATE), int(hop * RATE)
    for start in range(0, max(1, len(samples) - length + 1), step):
        yield samples[start : start + length]


def start_model(kind: type, checkpoint: object, changes: dict[str, object]) -> torch.nn.Module:
    """Return a model of transformers' class `kind` on the encoder of a checkpoint, its convolutions frozen."""
    model = kind.from_pretrained(checkpoint, dtype=torch.float32, ignore_mismatched_sizes=True, **changes)
    model.freeze_feature_encoder()
    return model
