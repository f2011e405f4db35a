"""Some words of a long clip, with their transcript: an epoch of them costs less, and a batch has more speakers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..frames import EDGE, HOP, RATE, RECEPTIVE
from ..labels import BLANK, LABELS, SPACE
from .dataset import Clip, Dataset

_GAP = 3
"""Frames between the letters of two words at which a clip may be cut."""


class Pieces:
    """Cuts clips of a data set between words; where the words are is computed once for each clip."""

    def __init__(self, dataset: Dataset, seconds: float, share: float = 1.0) -> None:
        """Cut pieces of at most about `seconds`; `share` is that of the draws in which a long clip gives one."""
        self.dataset, self.longest, self.share = dataset, seconds * RATE / HOP, share
        self._cuts: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def draw(self, clip: Clip, generator: np.random.Generator) -> Clip:
        """Return words of a clip from a random place on; the clip itself where it is short or cannot be cut."""
        if clip.frames <= 1.2 * self.longest or not clip.labels:
            return clip
        key = (clip.store, clip.start)
        if key not in self._cuts:
            posteriors = self.dataset.posterior_rows(clip)
            self._cuts[key] = [] if posteriors is None else word_gaps(np.asarray(posteriors), clip.labels)
        places = [(0, 0, -1), *self._cuts[key], (clip.frames, clip.frames, len(clip.labels))]
        start = int(generator.integers(len(places) - 1))
        while start and clip.frames - places[start][0] < self.longest:
            start -= 1
        first, _, before = places[start]
        fitting = [place for place in places[start + 1 :] if place[1] - first <= self.longest]
        _, last, after = fitting[-1] if fitting else places[start + 1]
        labels = clip.labels[before + 1 : after]
        if last - first - 2 * EDGE < max(20, len(labels) + 2):
            return clip
        return replace(
            clip,
            start=clip.start + first * HOP,
            samples=min((last - first - 1) * HOP + RECEPTIVE, clip.samples - first * HOP),
            frame=clip.frame + first,
            frames=last - first,
            labels=labels,
            text="".join(LABELS[label] for label in labels).replace(LABELS[SPACE], " "),
        )


def word_gaps(posteriors: np.ndarray, labels: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return the gaps between words: the frame after one's last letter, that of the next's first, the space's index.

    Gaps of fewer than three frames are left out.
    """
    frames = label_frames(posteriors, labels)
    if frames is None:
        return []
    begins, ends = frames
    gaps = [(int(ends[i - 1]), int(begins[i + 1]), i) for i, label in enumerate(labels) if label == SPACE]
    return [gap for gap in gaps if gap[1] - gap[0] >= _GAP]


def label_frames(posteriors: np.ndarray, labels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the first frame of each label and the frame after its last, on the best path of CTC that spells them.

    `posteriors` are [frames, labels]. None where there are too few frames.
    """
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = labels
    skips = np.zeros(len(states), bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    scores = np.log(np.maximum(posteriors.astype(np.float32), 1e-6))[:, states]
    best = np.full(len(states), -np.inf, np.float32)
    best[:2] = scores[0, :2]
    steps = np.zeros(scores.shape, np.int8)
    for t in range(1, len(scores)):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf, -np.inf], best[:-2]]), -np.inf)
        ways = np.stack([best, one, two])
        steps[t] = ways.argmax(0)
        best = ways.max(0) + scores[t]
    state = len(states) - 1 - int(best[-2] > best[-1])
    if not np.isfinite(best[state]):
        return None
    begins, ends = np.zeros(len(labels), int), np.zeros(len(labels), int)
    for t in range(len(scores) - 1, -1, -1):
        if state % 2:
            begins[state // 2] = t
            ends[state // 2] = max(ends[state // 2], t + 1)
        state -= int(steps[t, state])
    return begins, ends
