"""Windows of sound with a wake phrase somewhere in them, or without one, as a live microphone gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..frames import RATE
from .windows import Clip, Disturber, Samples, faster, stretch

_STEP = RATE // 50


def level_of(samples: Samples) -> float:
    """Return the root mean square of a clip [samples]."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) + 1e-6 if len(samples) else 1e-6


def phrase_bounds(clip: Samples) -> tuple[int, int]:
    """Return the samples [start, end) of the speech of a clip that holds one phrase.

    Levels of 20 ms that are within 30 dB of the loudest and 6 dB above the clip's quiet count; of the stretches that
    pauses of more than 0.3 s part, the one with the most energy is the phrase.
    """
    count = len(clip) // _STEP
    if count == 0:
        return 0, len(clip)
    powers = np.square(clip[: count * _STEP].reshape(count, _STEP), dtype=np.float64).mean(1)
    levels = 10 * np.log10(powers + 1e-10)
    floor = min(np.percentile(levels[levels > -90], 20) + 6, levels.max() - 12) if (levels > -90).any() else -90
    loud = np.flatnonzero(levels > max(levels.max() - 30, floor))
    parts = np.split(loud, np.flatnonzero(np.diff(loud) > 15) + 1)
    best = max(parts, key=lambda part: float(powers[part].sum()))
    return int(best[0]) * _STEP, int(best[-1] + 1) * _STEP


@dataclass
class Scenes:
    """Makes examples: windows of sound and their label number (0: no phrase)."""

    phrases: Sequence[Samples]
    labels: Sequence[int]
    others: Sequence[Clip]
    generator: np.random.Generator
    disturb: Disturber | None = None
    bounds: list[tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        """Find the phrase in each clip."""
        self.bounds = [phrase_bounds(clip) for clip in self.phrases]

    def draw(self, count: int) -> tuple[list[Samples], list[int]]:
        """Return windows of one length, 1.2 to 2.8 s, and their labels: half have a phrase, a tenth a part of one."""
        length = int(self.generator.triangular(1.2, 2.0, 2.8) * RATE)
        windows, labels = [], []
        for kind in self.generator.random(count):
            speed = float(self.generator.uniform(0.9, 1.1))
            wanted = int(np.ceil(length * speed)) + 1
            clip, label = (
                self.phrase(wanted) if kind < 0.5 else (self.part(wanted) if kind < 0.6 else self.other(wanted), 0)
            )
            clip = faster(np.pad(clip, (0, max(0, wanted - len(clip)))), speed)[:length]
            windows.append(clip if self.disturb is None else self.disturb(clip))
            labels.append(label)
        return windows, labels

    def phrase(self, length: int) -> tuple[Samples, int]:
        """Return a window with a whole phrase in it: in its own clip, or between other speech or silence."""
        number = int(self.generator.integers(len(self.phrases)))
        clip, (start, end) = self.phrases[number], self.bounds[number]
        start = max(0, start - int(self.generator.uniform(0.02, 0.2) * RATE))
        end = min(len(clip), end + int(self.generator.uniform(0.02, 0.2) * RATE))
        return self._placed(clip, start, min(end, start + length), length), self.labels[number]

    def part(self, length: int) -> Samples:
        """Return a window with only the beginning or the end of a phrase: it is not one."""
        number = int(self.generator.integers(len(self.phrases)))
        clip, (start, end) = self.phrases[number], self.bounds[number]
        share = float(self.generator.uniform(0.25, 0.5))
        if self.generator.random() < 0.5:
            end = start + int(share * (end - start))
        else:
            start = end - int(share * (end - start))
        return self._placed(clip, start, min(end, start + length), length, own=False)

    def other(self, length: int) -> Samples:
        """Return a window of other speech, of two pieces of it, or of silence."""
        kind = self.generator.random()
        if kind < 0.06:
            return self._quiet(length, 0.01)
        if kind < 0.75:
            return self._speech()[:length]
        first, second = self._speech(), self._speech()
        cut = int(self.generator.uniform(0.2, 0.8) * length)
        gap = self._quiet(int(self.generator.uniform(0, 0.5) * RATE), level_of(first))
        second = second * np.float32(level_of(first) / level_of(second))
        return np.concatenate([first[-cut:], gap, second[: max(1, length - cut - len(gap))]])

    def _placed(self, clip: Samples, start: int, end: int, length: int, own: bool = True) -> Samples:
        """Put samples [start, end) of a clip at a random place of a window of `length` samples."""
        spare = length - (end - start)
        before = int(self.generator.integers(spare + 1))
        after = spare - before
        kind = self.generator.random()
        if own and kind < 0.3:
            return clip[max(0, start - before) : end + after]
        loud = level_of(clip[start:end])
        sides = [kind < 0.75, kind < 0.5 or kind > 0.9]  # speech before, speech after
        left, right = (self._side(size, loud, speech, at) for size, speech, at in zip((before, after), sides, (-1, 0)))
        return np.concatenate([left, clip[start:end], right])

    def _side(self, length: int, loud: float, speech: bool, end: int) -> Samples:
        """Return what comes before (end -1) or after (0) a phrase: speech with a pause at the phrase, or quiet."""
        pause = min(length, int(self.generator.uniform(0.0, 0.3) * RATE)) if speech else length
        quiet = self._quiet(pause, loud)
        if pause == length:
            return quiet
        words = self._speech()
        words = words[-(length - pause) :] if end else words[: length - pause]
        words = words * np.float32(loud / level_of(words) * 10 ** (self.generator.uniform(-8, 4) / 20))
        return np.concatenate([words, quiet] if end else [quiet, words])

    def _speech(self) -> Samples:
        """Return 3 s of other speech, less where a clip is shorter."""
        return stretch(self.others[int(self.generator.integers(len(self.others)))], 3.0, self.generator)

    def _quiet(self, length: int, loud: float) -> Samples:
        ratio = self.generator.uniform(30, 70)
        return (self.generator.standard_normal(length) * loud * 10 ** (-ratio / 20)).astype(np.float32)
