"""Hidden states of the encoder, computed once for every clip of every speaker: a head trains on them in minutes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from .windows import Clip, Disturber, faster, padded, stretch

SPEEDS = (1.0, 0.9, 1.1)
"""Each speaker at each of these is a speaker of the training."""

LAYERS = 5
"""Hidden states that are kept: the input of the first layer, and the outputs of the first four. What later layers add
is about words."""

SUBSAMPLED = 2
"""Frames of 20 ms to one that is kept."""

LONGEST = 4.0
"""Seconds of a clip that are used."""


@dataclass(frozen=True)
class States:
    """The states of all clips [frames, layers, size], one after another; where each begins, its frames, its speaker."""

    values: NDArray[np.float16]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def layers(self) -> int:
        """How many layers are kept."""
        return self.values.shape[1]

    def draw(self, batch: int, frames: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return stretches of clips [batch, frames, layers, size] and their labels; a shorter clip is repeated."""
        speakers, clips = np.unique(self.labels, return_counts=True)
        chances = np.sqrt(clips + 3.0)
        chosen = generator.choice(speakers, size=batch, p=chances / chances.sum())
        rows = np.zeros((batch, frames, *self.values.shape[1:]), np.float32)
        for row, speaker in zip(rows, chosen):
            clip = int(generator.choice(np.flatnonzero(self.labels == speaker)))
            start, count = self.starts[clip], self.counts[clip]
            first = int(generator.integers(max(1, count - frames + 1)))
            row[:] = np.resize(self.values[start + first : start + min(count, first + frames)], row.shape)
        return torch.from_numpy(rows), torch.from_numpy(chosen)

    @contextlib.contextmanager
    def at_their_rate(self, model: PreTrainedModel) -> Iterator[None]:
        """Have a model's time-delay layers work on kept frames instead of all."""
        before = [layer.dilation for layer in model.tdnn]
        for layer in model.tdnn:
            layer.dilation = max(1, layer.dilation // SUBSAMPLED)
        try:
            yield
        finally:
            for layer, dilation in zip(model.tdnn, before):
                layer.dilation = dilation


@contextlib.contextmanager
def remember(
    model: PreTrainedModel, speech: Sequence[Sequence[Clip]], path: Path, seed: int, batch: int = 32
) -> Iterator[States]:
    """Compute the states of the clips of each speaker, disturbed, at each of `SPEEDS`; `path` holds them meanwhile."""
    generator = np.random.default_rng(seed)
    disturb = Disturber([clip for clips in speech for clip in clips], generator)
    jobs = [
        (speaker * len(SPEEDS) + number, clip, speed)
        for speaker, clips in enumerate(speech)
        for clip in clips
        for number, speed in enumerate(SPEEDS)
    ]
    order = generator.permutation(len(jobs))
    counts, labels = [], []
    try:
        with path.open("wb") as file:
            for start in range(0, len(jobs), 8 * batch):
                clips = []
                for index in order[start : start + 8 * batch]:
                    label, clip, speed = jobs[index]
                    clips.append((label, disturb(faster(stretch(clip, LONGEST * speed, generator), speed))))
                clips.sort(key=lambda pair: len(pair[1]))  # so that little is padded
                for at in range(0, len(clips), batch):
                    part = clips[at : at + batch]
                    for found in _states(model, [samples for _, samples in part]):
                        file.write(found.tobytes())
                        counts.append(len(found))
                    labels += [label for label, _ in part]
                print(json.dumps({"clips": len(labels), "of": len(jobs)}), flush=True)
        size = model.config.hidden_size
        values = np.memmap(path, np.float16, "r", shape=(sum(counts), LAYERS, size))
        ends = np.cumsum(counts)
        yield States(values, ends - np.array(counts), np.array(counts), np.array(labels))
    finally:
        path.unlink(missing_ok=True)


@torch.inference_mode()
def _states(model: PreTrainedModel, clips: Sequence[NDArray[np.float32]]) -> Iterator[NDArray[np.float16]]:
    """Yield the kept states of each clip [frames, layers, size]."""
    model.eval()
    audio, mask = padded(clips)
    layers = model.wav2vec2(audio, attention_mask=mask, output_hidden_states=True).hidden_states[:LAYERS]
    kept = torch.stack(layers, 2)[:, ::SUBSAMPLED].half().numpy()
    for found, clip in zip(kept, clips):
        frames = int(model._get_feat_extract_output_lengths(len(clip)))
        yield found[: -(-frames // SUBSAMPLED)]
