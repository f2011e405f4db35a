"""Word and character error rates of greedy transcripts, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from augment import Augmentation
from batches import Clip, Collator, Speech, length_batches
from model import Student, greedy


@dataclass(frozen=True)
class Reading:
    """One clip as read: its corpus, reference and hypothesis."""

    corpus: str
    reference: str
    hypothesis: str


def edits(reference: list[str], hypothesis: list[str]) -> int:
    """Fewest insertions, deletions and substitutions between two sequences (Levenshtein)."""
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


@torch.inference_mode()
def scores(
    student: Student, speech: Speech, device: str = "cpu", seconds: float = 40.0
) -> Iterator[tuple[Clip, np.ndarray]]:
    """Yield every clip of the stores with its label scores [frames, labels]."""
    chains = [(clip,) for group in speech.groups.values() for clip in group]
    if not chains:
        return
    collate = Collator(speech, Augmentation(strength=0.0), 0, None)
    for some in length_batches(chains, seconds):
        batch = collate(some)
        hidden, _ = student.encode(student.convolve(batch.audio.to(device)), batch.frames.to(device))
        for (clip,), row, count in zip(some, student.logits(hidden).cpu().numpy(), batch.frames.tolist()):
            yield clip, row[:count]


def transcribe(student: Student, speech: Speech, device: str = "cpu", seconds: float = 40.0) -> list[Reading]:
    """Read every clip of the stores, greedily."""
    found = scores(student, speech, device, seconds)
    return [Reading(clip.corpus, clip.text, greedy(row.argmax(-1))) for clip, row in found]


def rates(readings: list[Reading], draws: int = 0) -> dict[str, dict[str, object]]:
    """WER, CER and exact share in percent for each corpus; with `draws`, 95 % bootstrap intervals over clips."""
    found: dict[str, dict[str, object]] = {}
    for corpus in sorted({r.corpus for r in readings}):
        rows = [r for r in readings if r.corpus == corpus]
        words = np.array([[edits(r.reference.split(), r.hypothesis.split()), len(r.reference.split())] for r in rows])
        letters = np.array([[edits(list(r.reference), list(r.hypothesis)), len(r.reference)] for r in rows])
        exact = np.array([[float(r.reference == r.hypothesis), 1.0] for r in rows])
        entry: dict[str, object] = {"clips": len(rows)}
        for name, counts in (("wer", words), ("cer", letters), ("exact", exact)):
            entry[name] = round(100 * float(counts[:, 0].sum() / counts[:, 1].sum()), 2)
            if draws:
                picks = np.random.default_rng(0).integers(len(rows), size=(draws, len(rows)))
                sums = counts[picks].sum(1)
                low, high = np.percentile(100 * sums[:, 0] / sums[:, 1], (2.5, 97.5))
                entry[name + "_interval"] = [round(float(low), 2), round(float(high), 2)]
        found[corpus] = entry
    return found


def measure(student: Student, speech: Speech, device: str = "cpu") -> dict[str, dict[str, object]]:
    """Return the rates of a model on the clips of some stores."""
    return rates(transcribe(student, speech, device))
