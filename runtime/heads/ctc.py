"""Connectionist temporal classification: from logits to words with times and confidence.

Greedy decoding: the best label of each frame, repeats collapsed, blanks dropped (Graves et al., 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..spec import ModelSpec
from ..transcript import Word


@dataclass(frozen=True)
class Options:
    """How labels become text.

    silent: labels that never become text (``<s>``, ``</s>`` …). lowercase: whether the tokenizer lowers its output.
    """

    silent: tuple[str, ...] = ()
    lowercase: bool = False


@dataclass(frozen=True)
class Token:
    """One emitted label: ``frames`` [start, end) where it was the best, and its mean log-probability there."""

    label: int
    start: int
    end: int
    log_probability: float


def tokens(logits: NDArray[np.float32], blank: int) -> list[Token]:
    """Collapse the best path of logits [frames, labels] into tokens; blanks and repeats go."""
    if len(logits) == 0:
        return []
    best = logits.argmax(axis=1)
    edges = np.flatnonzero(np.diff(best)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(best)]))
    spoken = best[starts] != blank
    starts, ends = starts[spoken], ends[spoken]
    peak = logits.max(axis=1)
    log_probabilities = -np.log(np.exp((logits - peak[:, None]).astype(np.float64)).sum(axis=1))
    sums = np.concatenate(([0.0], np.cumsum(log_probabilities)))
    means = (sums[ends] - sums[starts]) / (ends - starts)
    return [Token(int(best[start]), int(start), int(end), float(mean)) for start, end, mean in zip(starts, ends, means)]


def words(found: list[Token], spec: ModelSpec, first_frame: int = 0) -> list[Word]:
    """Group tokens into words at the delimiter.

    first_frame: the absolute frame of the logits' first row. Times are in seconds: a word starts with the first frame
    of its first label and ends with the last frame of its last. Confidence is the geometric mean of its labels'
    probabilities, in (0, 1]. A model without a delimiter (phonemes, characters of some languages) gives one word a
    label.
    """
    options: Options = spec.head_options
    seconds = spec.stride / spec.sample_rate
    result: list[Word] = []
    run: list[Token] = []

    def close() -> None:
        if run:
            text = "".join(spec.labels[token.label] for token in run)
            result.append(
                Word(
                    text=text.lower() if options.lowercase else text,
                    start=round((first_frame + run[0].start) * seconds, 3),
                    end=round((first_frame + run[-1].end) * seconds, 3),
                    confidence=round(float(np.exp(sum(t.log_probability for t in run) / len(run))), 4),
                )
            )
            run.clear()

    for token in found:
        label = spec.labels[token.label]
        if label in options.silent:
            continue
        if label == spec.delimiter:
            close()
            continue
        run.append(token)
        if spec.delimiter is None:
            close()
    close()
    return result


def greedy(logits: NDArray[np.float32], spec: ModelSpec, first_frame: int = 0) -> list[Word]:
    """Words of one clip's logits [frames, labels] by greedy decoding."""
    assert spec.blank is not None
    return words(tokens(logits, spec.blank), spec, first_frame)
