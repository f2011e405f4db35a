"""How long a pause inside a word can be: the figures for ``runtime/heads/ctc.py``'s WORD_GAP.

    python benchmarks/word_gaps.py MANIFEST [-m BUNDLE] [--split NAME] [--limit N]

A word of a greedy transcript is right where the reference has it at its place. For several bounds: how many right words
a bound would break (none should be), and how many other words it would split. The last column is for pairs of
recordings with 3 s of silence between them, where a model that writes no delimiter in silence joins two words to one.
"""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Sequence

import _kit
import numpy as np
from numpy.typing import NDArray

from wav2edge.measure.scoring import normalize
from wav2edge.runtime.audio import read
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model

BOUNDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)
SILENCE = 3.0
"""Seconds between the recordings of a pair."""

Found = list[tuple[str, float]]
"""Words, each with the longest pause inside it in seconds."""


def words_of(model: Model, samples: NDArray[np.float32]) -> Found:
    """The words of a clip, split at delimiters only."""
    spec = model.spec
    assert spec.blank is not None
    (logits,) = model.logits([samples])
    found: Found = []
    run: list[ctc.Token] = []
    for token in [*ctc.tokens(logits, spec.blank), None]:
        if token is not None and spec.labels[token.label] != spec.delimiter:
            run.append(token)
            continue
        if run:
            gap = max((after.start - before.end for before, after in itertools.pairwise(run)), default=0)
            found.append(("".join(spec.labels[t.label] for t in run), gap * spec.stride / spec.sample_rate))
        run = []
    return found


def right_and_other(words: Found, text: str) -> tuple[list[float], list[float]]:
    """The pauses of words that the reference has at their places, and those of the others."""
    matcher = difflib.SequenceMatcher(None, normalize(text).split(), [word for word, _ in words], autojunk=False)
    right = {place + n for _, place, size in matcher.get_matching_blocks() for n in range(size)}
    kinds: tuple[list[float], list[float]] = ([], [])
    for index, (_, gap) in enumerate(words):
        kinds[index not in right].append(gap)
    return kinds


def across(model: Model, clips: Sequence[NDArray[np.float32]]) -> list[float]:
    """The pauses of words that extend over the silence between the recordings of a pair."""
    silence = np.zeros(round(SILENCE * model.spec.sample_rate), np.float32)
    pairs = zip(clips[::2], clips[1::2])
    words = (words_of(model, np.concatenate((first, silence, second))) for first, second in pairs)
    return [gap for found in words for _, gap in found if gap > SILENCE - 0.5]


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    _kit.add_model(parser)
    parser.add_argument("--split")
    parser.add_argument("--limit", type=int, default=600, help="recordings, picked at random (default: 600)")
    options = parser.parse_args()
    rows = [row for row in _kit.rows_of(options.manifest, split=options.split) if row.text and (row.seconds or 0) < 20]
    rows = random.Random(0).sample(rows, min(options.limit, len(rows)))
    right: list[float] = []
    other: list[float] = []
    with _kit.open_model(options) as model, _kit.Output(options) as output:
        clips = [read.load(row.audio, model.spec.sample_rate) for row in rows]
        for row, clip in zip(rows, clips):
            for gaps, more in zip((right, other), right_and_other(words_of(model, clip), row.text)):
                gaps += more
        joined = across(model, clips)
        longest = ", ".join(f"{q} %: {np.percentile(right, q):.2f} s" for q in (90, 99, 99.9, 100))
        output.say(f"{len(rows)} recordings, {model.engine} {model.variant.name}: {len(right)} words are right")
        output.say(f"longest pause inside a right word, percentiles: {longest}")
        output.say(f"{len(joined)} of {len(clips) // 2} pairs have one word across {SILENCE:g} s of silence", "")
        output.say(
            f"{'bound s':>7} {'right words broken':>19} {f'of {len(other)} others parted':>22} {'pairs parted':>13}"
        )
        for bound in BOUNDS:
            counts = [sum(gap > bound for gap in gaps) for gaps in (right, other, joined)]
            output.say(f"{bound:7.1f} {counts[0]:19d} {counts[1]:22d} {counts[2]:13d}")


if __name__ == "__main__":
    main()
