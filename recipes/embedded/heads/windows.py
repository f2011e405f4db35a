"""Stretches of clips of one length or less, for heads that judge a whole input."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from ..frames import RATE
from ..speech.augment import Augmentation, NoiseBank, disturb
from ..speech.batches import normalize
from ..speech.manifest import load
from ..student.plan import Plan, rate_at

Samples = NDArray[np.float32]
Clip: TypeAlias = NDArray[np.float32] | Path
"""A clip's samples at 16 kHz, or its file, of which only what is used is decoded."""


def stretch(clip: Clip, seconds: float, generator: np.random.Generator) -> Samples:
    """Return a random stretch of a clip of at most `seconds`."""
    length = int(seconds * RATE)
    if isinstance(clip, Path):
        with soundfile.SoundFile(clip) as file:
            if file.samplerate == RATE and file.channels == 1 and file.frames > length:
                file.seek(int(generator.integers(file.frames - length + 1)))
                return file.read(length, dtype="float32")
    samples = load(clip) if isinstance(clip, Path) else clip
    if len(samples) <= length:
        return samples
    start = int(generator.integers(len(samples) - length + 1))
    return samples[start : start + length]


def padded(clips: Sequence[Samples]) -> tuple[Tensor, Tensor]:
    """Return normalised clips as one batch [batch, samples], and its attention mask."""
    audio = np.zeros((len(clips), max(map(len, clips))), np.float32)
    mask = np.zeros(audio.shape, np.int64)
    for row, valid, clip in zip(audio, mask, clips):
        row[: len(clip)], valid[: len(clip)] = normalize(clip), 1
    return torch.from_numpy(audio), torch.from_numpy(mask)


class Disturber:
    """Adds noise, room and colour to clips, as in the training of the encoder."""

    def __init__(self, clips: Sequence[Clip], generator: np.random.Generator, strength: float = 1.0) -> None:
        """Make noises and babble from some clips."""
        self.augmentation, self.generator = Augmentation(strength=strength), generator
        picked = [stretch(clips[int(i)], 15.0, generator) for i in generator.integers(len(clips), size=32)]
        self.noises = NoiseBank(picked, generator)

    def __call__(self, clip: Samples) -> Samples:
        """Return a clip [samples] disturbed anew."""
        return disturb(clip, self.augmentation, self.noises, self.generator)


def faster(clip: Samples, factor: float) -> Samples:
    """Return a clip `factor` times as fast, and as high: another voice saying the same."""
    length = max(1, round(len(clip) / factor))
    return np.interp(np.arange(length) * factor, np.arange(len(clip)), clip).astype(np.float32)


def sliding(samples: Samples, seconds: float, hop: float) -> Iterator[Samples]:
    """Yield windows of a recording [samples], each `seconds` long, `hop` seconds apart."""
    length, step = int(seconds * RATE), int(hop * RATE)
    for start in range(0, max(1, len(samples) - length + 1), step):
        yield samples[start : start + length]


def start_model(
    kind: type[PreTrainedModel], checkpoint: Path, changes: dict[str, object], frozen: int = 0
) -> PreTrainedModel:
    """Return a model of transformers' class `kind` on the encoder of a checkpoint, its convolutions frozen.

    `frozen` of the transformer's layers, the first ones, and what is before them are frozen too.
    """
    model = kind.from_pretrained(checkpoint, dtype=torch.float32, ignore_mismatched_sizes=True, **changes)
    if _is_new(checkpoint):  # transformers leaves what a checkpoint lacks here as the memory was
        torch.nn.init.zeros_(model.layer_weights)
    model.freeze_feature_encoder()
    network = model.wav2vec2
    if frozen:
        for part in (network.feature_projection, network.encoder.pos_conv_embed, *network.encoder.layers[:frozen]):
            part.requires_grad_(False)
    return model


def _is_new(checkpoint: Path) -> bool:
    """Whether a checkpoint has no weighted layer sum yet: an encoder, or a transcriber."""
    return not json.loads((checkpoint / "config.json").read_text("utf-8")).get("use_weighted_layer_sum")


class Trainer:
    """Steps of AdamW with a rising and falling rate, and the running mean of the weights, which is what is kept."""

    def __init__(self, model: PreTrainedModel, steps: int, rate: float, encoder_rate: float, average: float) -> None:
        """Give the encoder's transformer a rate of its own; the convolutions are frozen."""
        self.model, self.steps, self.done = model, steps, 0
        inside = {id(p) for p in model.wav2vec2.parameters()}
        learnt = [p for p in model.parameters() if p.requires_grad]
        self.rates = (rate, encoder_rate)
        groups = [[p for p in learnt if id(p) not in inside], [p for p in learnt if id(p) in inside]]
        self.optimizer = torch.optim.AdamW([{"params": group} for group in groups], rate, weight_decay=0.01)
        self.plan = Plan(rate=rate, warm_steps=max(1, steps // 20))
        self.decay, self.mean = average, [p.detach().clone() for p in learnt]
        self.learnt = learnt
        model.train()

    def step(self, audio: Tensor, mask: Tensor, labels: Tensor) -> float:
        """Take one step on a batch, by the model's own loss; returns it."""
        return self.take(self.model(audio, attention_mask=mask, labels=labels).loss)

    def take(self, loss: Tensor) -> float:
        """Take one step down a loss; returns it."""
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * rate_at(self.plan, self.done, self.done / self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learnt, 1.0)
        self.optimizer.step()
        self.done += 1
        decay = min(self.decay, self.done / (self.done + 10))
        with torch.no_grad():
            for kept, weights in zip(self.mean, self.learnt):
                kept.lerp_(weights, 1 - decay)
        return float(loss.detach())

    def finish(self) -> None:
        """Put the mean of the weights in their place."""
        with torch.no_grad():
            for kept, weights in zip(self.mean, self.learnt):
                weights.copy_(kept)
        self.model.eval()
