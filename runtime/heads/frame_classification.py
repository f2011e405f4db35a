"""Frame classification: several labels may hold at each frame: who speaks when (diarization), voice activity.

Each label's probability becomes turns by two thresholds (hysteresis): a turn begins where it reaches the upper one and
ends where it falls below the lower one. Short pauses inside a turn are closed and short turns dropped, as in pyannote's
Binarize (Bredin et al., "pyannote.audio: neural building blocks for speaker diarization", 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec


@dataclass(frozen=True)
class Options:
    """How probabilities become turns."""

    onset: float = 0.5
    """Probability at which a turn begins: where a label is more likely than not."""
    offset: float = 0.5
    """Probability below which it ends; at most ``onset``."""
    shortest_turn: float = 0.0
    """Seconds below which a turn is dropped."""
    shortest_pause: float = 0.0
    """Seconds below which a pause inside a turn is closed."""
    exchangeable: bool = False
    """Whether labels are numbers that the model assigns to speakers anew in each chunk, so that the same person can
    have another number in the next chunk of a long recording."""


@dataclass(frozen=True)
class Turn:
    """A stretch in which one label holds."""

    label: str
    start: float
    """Seconds from the start of the recording."""
    end: float
    """Seconds from the start of the recording."""
    score: float
    """The mean probability of its frames, from 0 to 1."""


@dataclass(frozen=True)
class Turns:
    """The turns of one recording."""

    turns: tuple[Turn, ...]
    """In the order of their starts; turns of different labels may overlap."""
    seconds: float
    """The recording's length."""
    complete: bool = True
    """False where the recording was cut short or damaged."""


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [frames, labels] of logits: a sigmoid for each."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64))), dtype=np.float32)


def aligned(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float32]:
    """The columns of ``after`` [frames, labels] in the order that agrees best with ``before`` on the frames they share.

    before: the end of the earlier chunk's probabilities; the first ``len(before)`` rows of ``after`` are the same
    frames. Pairs of columns are taken greedily, the most similar first.
    """
    shared = min(len(before), len(after))
    if shared == 0:
        return after
    agreement = before[:shared].T.astype(np.float64) @ after[:shared] + (1 - before[:shared].T) @ (1 - after[:shared])
    order = np.zeros(after.shape[1], dtype=int)
    for _ in range(len(order)):
        row, column = np.unravel_index(int(agreement.argmax()), agreement.shape)
        order[row] = column
        agreement[row, :] = agreement[:, column] = -np.inf
    return after[:, order]


def turns(frames: NDArray[np.float32], spec: ModelSpec, options: Options | None = None) -> tuple[Turn, ...]:
    """Turns of a recording; frames: probabilities [frames, labels]; options: None takes the bundle's."""
    chosen = options or spec.options(Options)
    seconds = spec.stride / spec.sample_rate
    result = [
        Turn(label, round(start * seconds, 3), round(end * seconds, 3), round(float(column[start:end].mean()), 4))
        for label, column in zip(spec.labels, frames.T)
        for start, end in _stretches(column, chosen, seconds)
    ]
    return tuple(sorted(result, key=lambda turn: (turn.start, turn.label)))


def _stretches(column: NDArray[np.float32], options: Options, seconds: float) -> Iterator[tuple[int, int]]:
    """The frames [start, end) of each turn of one label's probabilities [frames]."""
    closed: list[tuple[int, int]] = []
    for start, end in _above(column, options):
        if closed and (start - closed[-1][1]) * seconds < options.shortest_pause:
            closed[-1] = (closed[-1][0], end)
        else:
            closed.append((start, end))
    return ((start, end) for start, end in closed if (end - start) * seconds >= options.shortest_turn)


def _above(column: NDArray[np.float32], options: Options) -> Iterator[tuple[int, int]]:
    begun: int | None = None
    for frame, value in enumerate(column):
        if begun is None and value >= options.onset:
            begun = frame
        elif begun is not None and value < min(options.offset, options.onset):
            yield begun, frame
            begun = None
    if begun is not None:
        yield begun, len(column)
