"""Greedy transcripts of clip stores by the student, and their error rates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..error_rates import Rates, Transcribed, error_rates
from ..labels import decode_greedy
from ..precision import autocast
from ..speech.augment import Augmentation
from ..speech.batches import Chain, Collator, length_batches
from ..speech.dataset import Clip, Dataset
from .model import Student


@torch.inference_mode()
def label_scores(
    student: Student, dataset: Dataset, device: str = "cpu", seconds: float = 40.0, exact: bool = True
) -> Iterator[tuple[Clip, np.ndarray]]:
    """Yield every clip of the stores with its label scores [frames, labels].

    `exact`: in float32 throughout; otherwise matrix products may run in bfloat16, which is faster.
    """
    chains: list[Chain] = [(clip,) for clip in dataset.clips()]
    if not chains:
        return
    collate = Collator(dataset, Augmentation(strength=0.0), 0)
    for some in length_batches(chains, seconds):
        batch = collate(some)
        with autocast(device, enabled=not exact):
            hidden, _ = student.encode(student.convolve(batch.audio.to(device)), batch.frames.to(device))
            logits = student.logits(hidden).float().cpu().numpy()
        for (clip,), row, count in zip(some, logits, batch.frames.tolist()):
            yield clip, row[:count]


def transcribe(student: Student, dataset: Dataset, device: str = "cpu", exact: bool = True) -> list[Transcribed]:
    """Transcribe every clip of the stores, greedily."""
    scored = label_scores(student, dataset, device, exact=exact)
    return [Transcribed(clip.corpus, clip.text, decode_greedy(row.argmax(-1))) for clip, row in scored]


def measure(student: Student, dataset: Dataset, device: str = "cpu") -> dict[str, Rates]:
    """Return the error rates of a model on the clips of some stores, quickly and without intervals."""
    return error_rates(transcribe(student, dataset, device, exact=False))
