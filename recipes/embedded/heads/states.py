"""Mean and deviation of the encoder's states before its first layer, for every clip of every speaker."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from .windows import Clip, Disturber, Samples, faster, padded, stretch

SPEEDS = (1.0, 0.9, 1.1)
"""Each speaker at each of these is a speaker of the training."""

LONGEST = 4.0
"""Seconds of a clip that are used."""

FEWEST = 3
"""Clips that a speaker has at least: other stretches, disturbed anew, where there are fewer."""


def statistics(
    model: PreTrainedModel, speech: Sequence[Sequence[Clip]], seed: int, batch: int = 24
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return means and deviations [clips, size] of disturbed clips of each speaker, and labels [clips].

    Each clip is taken as it is and at a speed of another speaker.
    """
    generator = np.random.default_rng(seed)
    disturb = Disturber([clip for clips in speech for clip in clips], generator)
    jobs = []
    for speaker, clips in enumerate(speech):
        for clip in [*clips, *clips * max(0, FEWEST - len(clips))]:
            jobs += [(speaker, 0, clip), (speaker, int(generator.integers(1, len(SPEEDS))), clip)]
    order = generator.permutation(len(jobs))
    found, labels = [], []
    for start in range(0, len(jobs), 8 * batch):
        clips = []
        for speaker, speed, clip in (jobs[index] for index in order[start : start + 8 * batch]):
            part = stretch(clip, LONGEST * SPEEDS[speed], generator)
            clips.append((speaker * len(SPEEDS) + speed, disturb(faster(part, SPEEDS[speed]))))
        clips.sort(key=lambda pair: len(pair[1]))  # so that little is padded
        for at in range(0, len(clips), batch):
            found += _states(model, [samples for _, samples in clips[at : at + batch]])
        labels += [label for label, _ in clips]
        print(json.dumps({"clips": len(labels), "of": len(jobs)}), flush=True)
    values = np.array(found, np.float64)
    return values[:, 0], values[:, 1], np.array(labels)


@torch.inference_mode()
def _states(model: PreTrainedModel, clips: Sequence[Samples]) -> list[NDArray[np.float32]]:
    """Return mean and deviation [2, size] of each clip's states."""
    model.eval()
    audio, mask = padded(clips)
    states = model.wav2vec2(audio, attention_mask=mask, output_hidden_states=True).hidden_states[0]
    rows = []
    for own, clip in zip(states, clips):
        frames = own[: int(model._get_feat_extract_output_lengths(len(clip)))]
        rows.append(torch.stack((frames.mean(0), frames.std(0))).numpy())
    return rows
