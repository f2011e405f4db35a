"""How long a pause inside a word can be: the figures for ``runtime/heads/ctc.py``'s WORD_GAP.

    python benchmarks/word_gaps.py MANIFEST [-m BUNDLE] [--limit N]

A word of a greedy transcript is true where the reference has it at its place. For several bounds: how many true words
a longest pause of that length would break, and in how many words it would part letters that belong to two. The second
figure is also taken with a silence of 3 s put between any two recordings, where a model that writes no delimiter into
silence makes one word of two.
"""

from __future__ import annotations

import difflib
import itertools
import random

import _kit
import numpy as np

from wav2edge.measure import manifest
from wav2edge.measure.scoring import normalize
from wav2edge.runtime.audio import read
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.model import Model

BOUNDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)


def words_with_gaps(model: Model, samples: np.ndarray) -> list[tuple[str, float]]:
    """The words of a clip, each with the longest pause inside it in seconds."""
    spec = model.spec
    assert spec.blank is not None
    (logits,) = model.logits([samples])
    found: list[tuple[str, float]] = []
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


def main() -> None:
    """Measure and print."""
    parser = _kit.parser(__doc__)
    parser.add_argument("manifest")
    _kit.add_model(parser)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--split")
    options = parser.parse_args()
    rows = [row for row in manifest.read(options.manifest, split=options.split) if row.text and (row.seconds or 0) < 20]
    rows = random.Random(0).sample(rows, min(options.limit, len(rows)))
    true: list[float] = []
    wrong: list[float] = []
    joined: list[float] = []
    with _kit.open_model(options) as model:
        silence = np.zeros(3 * model.spec.sample_rate, np.float32)
        clips = [read.load(row.path, model.spec.sample_rate) for row in rows]
        for row, clip in zip(rows, clips):
            found = words_with_gaps(model, clip)
            matcher = difflib.SequenceMatcher(None, normalize(row.text).split(), [word for word, _ in found], False)
            right = {j + n for _, j, size in matcher.get_matching_blocks() for n in range(size)}
            for index, (_, gap) in enumerate(found):
                (true if index in right else wrong).append(gap)
        for first, second in zip(clips[::2], clips[1::2]):
            joined += [gap for _, gap in words_with_gaps(model, np.concatenate((first, silence, second))) if gap > 2.5]
    with _kit.Output(options) as output:
        output.say(f"{len(rows)} recordings: {len(true)} true words, {len(wrong)} others; longest pause in a true word")
        output.say("  " + ", ".join(f"{q} %: {np.percentile(true, q):.2f} s" for q in (90, 99, 99.9, 100)))
        pairs = len(clips) // 2
        output.say(f"3 s of silence between two recordings: {len(joined)} of {pairs} pairs give one word across it")
        output.say(f"{'bound, s':>9} {'true words broken':>18} {'others parted':>14} {'pairs parted':>13}")
        for bound in BOUNDS:
            counts = [sum(gap > bound for gap in gaps) for gaps in (true, wrong, joined)]
            output.say(f"{bound:9.1f} {counts[0]:18d} {counts[1]:14d} {counts[2]:13d}")


if __name__ == "__main__":
    main()
