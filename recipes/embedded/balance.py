"""Set how readily the trained model writes a blank and a space: two biases, chosen on dev by word error rate.

CTC trained to a likelihood leaves them where letters are likeliest, which is not where the fewest words are lost.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from batches import Speech
from evaluate import Reading, rates, scores
from model import IDS, Student, greedy, open_checkpoint, save_checkpoint

BLANK, SPACE = IDS["<pad>"], IDS["|"]
STEPS = (-0.5, 0.0, 0.5, 1.0, 1.5)


def word_errors(rows: list[tuple[str, str, np.ndarray]], blank: float, space: float) -> dict[str, float]:
    """WER % of every corpus with these added to the scores of blank and space."""
    change = np.zeros(rows[0][2].shape[1], np.float32)
    change[[BLANK, SPACE]] = blank, space
    readings = [Reading(corpus, text, greedy((row + change).argmax(-1))) for corpus, text, row in rows]
    return {corpus: float(str(found["wer"])) for corpus, found in rates(readings).items()}


def main() -> None:
    """Choose the biases with the lowest mean WER over the corpora and write them into the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dev", type=Path, required=True, help="a clip store")
    options = parser.parse_args()
    net = open_checkpoint(options.checkpoint).eval()
    found = scores(Student(net).eval(), Speech([options.dev], False))
    rows = [(clip.corpus, clip.text, row) for clip, row in found]
    if not rows:
        print("no dev clips: the biases stay as they are")
        return
    table = {pair: word_errors(rows, *pair) for pair in itertools.product(STEPS, STEPS)}
    best = min(table, key=lambda pair: sum(table[pair].values()))
    for pair in ((0.0, 0.0), best):
        print(f"blank {pair[0]:+.1f}, space {pair[1]:+.1f}: {json.dumps(table[pair])}")
    with torch.no_grad():
        net.lm_head.bias[BLANK] += best[0]
        net.lm_head.bias[SPACE] += best[1]
    save_checkpoint(net, options.checkpoint)


if __name__ == "__main__":
    main()
