"""Connectionist temporal classification: from logits to words with times and confidence.

Greedy decoding: the best label of each frame, repeats collapsed, blanks dropped (Graves et al., 2006).
Alignment: the most probable frames of a given label sequence (Viterbi).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec
from ..errors import InputError
from ..text.transcript import Word

WORD_GAP = 0.5
"""Seconds without a label that end a word, even where the model writes no delimiter into them.

Inside 5 801 correctly recognised words of the embedded model the longest pause is 0.28 s (docs/figures/word-gaps.md).
Without the bound the model joins the last word of one recording with the first of the next, across silence, in 229 of
400 pairs; with it in none.
"""

PIECE = "▁"
"""What opens a word in SentencePiece vocabularies."""
_BYTES = r"(?:<0x[0-9A-F]{2}>)+"  # its bytes of characters that have no piece (byte_fallback)


@dataclass(frozen=True)
class Options:
    """How labels become text."""

    silent: tuple[str, ...] = ()
    """Labels that never become text (``<s>``, ``</s>`` and the like)."""

    lowercase: bool = False
    """Whether the tokenizer puts its output in small letters."""


@dataclass(frozen=True)
class Token:
    """One emitted label."""

    label: int
    """Its index in the vocabulary."""

    start: int
    """Its first frame."""

    end: int
    """The frame after its last."""

    log_probability: float
    """The mean of its log-probabilities in these frames."""


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [frames, labels] as log-probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float32)


def tokens(logits: NDArray[np.float32], blank: int) -> list[Token]:
    """Collapse the best path of logits [frames, labels] into tokens: repeats are merged, blanks dropped."""
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


def align(logits: NDArray[np.float32], labels: Sequence[int], blank: int) -> list[Token]:
    """The frames of each label of a known sequence, by the most probable CTC path through it (Viterbi).

    Raises InputError when the logits [frames, labels] have too few frames for the sequence.
    """
    if len(labels) == 0:
        return []
    repeats = sum(first == second for first, second in pairwise(labels))
    if len(logits) < len(labels) + repeats:
        raise InputError(f"{len(logits)} frames are too few for {len(labels)} labels")
    scores = log_softmax(logits)
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    may_skip = np.zeros(len(states), dtype=bool)  # past a blank, from one label to a different one
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    emitted = scores[:, states].astype(np.float64)
    best = np.full(len(states), -np.inf)
    best[:2] = emitted[0, :2]
    back = np.zeros((len(logits), len(states)), dtype=np.int8)
    candidates = np.full((3, len(states)), -np.inf)
    for frame in range(1, len(logits)):
        candidates[0] = best
        candidates[1, 1:] = best[:-1]
        candidates[2, 2:] = np.where(may_skip[2:], best[:-2], -np.inf)
        back[frame] = candidates.argmax(axis=0)
        best = candidates.max(axis=0) + emitted[frame]
    path = np.zeros(len(logits), dtype=np.int64)
    path[-1] = len(states) - 1 if best[-1] >= best[-2] else len(states) - 2
    for frame in range(len(logits) - 1, 0, -1):
        path[frame - 1] = path[frame] - back[frame, path[frame]]
    result = []
    for place, label in enumerate(labels):
        frames = np.flatnonzero(path == 2 * place + 1)
        start, end = int(frames[0]), int(frames[-1]) + 1
        result.append(Token(int(label), start, end, float(scores[start:end, label].mean())))
    return result


def words(found: list[Token], spec: ModelSpec, first_frame: int = 0, word_gap: float = WORD_GAP) -> list[Word]:
    """Group tokens into words at the delimiter, and at pauses that are longer than ``word_gap`` seconds.

    first_frame: the absolute frame of the logits' first row. Times are in seconds: a word starts with the first frame
    of its first label and ends with the last frame of its last. Confidence is the geometric mean of its labels'
    probabilities, in (0, 1]. Without a delimiter (phonemes, characters of some languages) each label is a word; in a
    vocabulary of pieces a leading ``▁`` opens a word, and labels such as ``<0xC3>`` are bytes of UTF-8.
    """
    options = spec.options(Options)
    pieces = spec.tokenizer == "piece"
    seconds = spec.stride / spec.sample_rate
    gap = frames_of(word_gap, spec)
    result: list[Word] = []
    run: list[Token] = []

    def close() -> None:
        text = "".join(spec.labels[token.label] for token in run)
        if pieces:
            text = re.sub(_BYTES, _from_bytes, " ".join(text.replace(PIECE, " ").split()))
        if text:
            result.append(
                Word(
                    text=text.lower() if options.lowercase else text,
                    start=round((first_frame + run[0].start) * seconds, 3),
                    end=round((first_frame + run[-1].end) * seconds, 3),
                    confidence=max(1e-4, round(float(np.exp(sum(t.log_probability for t in run) / len(run))), 4)),
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
        if (pieces and label.startswith(PIECE)) or (run and token.start - run[-1].end > gap):
            close()
        run.append(token)
        if spec.delimiter is None and not pieces:
            close()
    close()
    return result


def _from_bytes(found: re.Match[str]) -> str:
    """The characters of labels that are bytes of UTF-8."""
    return bytes(int(label[2:4], 16) for label in found[0].split("<")[1:]).decode("utf-8", "replace")


def joined(found: Sequence[Word], spec: ModelSpec) -> str:
    """Words as text: with spaces, or without in a vocabulary of characters that has no word delimiter."""
    return gap(spec).join(word.text for word in found)


def gap(spec: ModelSpec) -> str:
    """What is between two words, and between the texts of two segments, of a model."""
    return "" if spec.delimiter is None and spec.tokenizer == "char" else " "


def frames_of(seconds: float, spec: ModelSpec) -> int:
    """A length of time in frames, rounded, and one at least."""
    return max(1, round(seconds * spec.sample_rate / spec.stride))


def check_gap(word_gap: float) -> None:
    """Raise InputError for a word gap (s) that ends no words, or that is infinite."""
    if not 0.0 < word_gap < float("inf"):
        raise InputError(f"word gap {word_gap:g} s: it must be above 0, and finite")


@dataclass(frozen=True)
class Greedy:
    """Greedy decoding: from logits [frames, labels], the spec and the absolute first frame to words."""

    word_gap: float = WORD_GAP
    """Seconds without a label that end a word; default 0.5 (``WORD_GAP`` says why)."""

    def __post_init__(self) -> None:
        """Raises InputError for a gap that ends no words."""
        check_gap(self.word_gap)

    def __call__(self, logits: NDArray[np.float32], spec: ModelSpec, first_frame: int = 0) -> list[Word]:
        """Words of one clip's logits."""
        assert spec.blank is not None
        return words(tokens(logits, spec.blank), spec, first_frame, self.word_gap)


greedy = Greedy()
"""Greedy decoding with the default word gap."""
