"""Choose on dev how readily the trained model writes a blank and a space: two biases, by word error rate.

    python -m recipes.embedded.student.balance CHECKPOINT --dev STORE

CTC training sets them for the likelihood of letters, which is not where the word error rate is lowest.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch

from ..error_rates import Transcribed, error_rates
from ..labels import BLANK, SPACE, decode_greedy
from ..speech.clips import store_folder
from ..speech.dataset import Dataset
from .decode import label_scores
from .model import Student, open_checkpoint, save_checkpoint

STEPS = (-0.5, 0.0, 0.5, 1.0, 1.5)
"""Biases that are tried (nats)."""


def word_error_rates(rows: list[tuple[str, str, np.ndarray]], blank: float, space: float) -> dict[str, float]:
    """Return the WER in percent of every corpus with these added to the scores of blank and space.

    `rows` are corpus, reference and label scores [frames, labels] of each clip.
    """
    change = np.zeros(rows[0][2].shape[1], np.float32)
    change[[BLANK, SPACE]] = blank, space
    texts = [Transcribed(corpus, text, decode_greedy((row + change).argmax(-1))) for corpus, text, row in rows]
    return {corpus: rates["wer"] for corpus, rates in error_rates(texts).items()}


def main() -> None:
    """Choose the biases with the lowest mean WER over the corpora and write them into the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dev", type=store_folder, required=True, help="a clip store")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = open_checkpoint(options.checkpoint).eval()
    scored = label_scores(Student(net).eval(), Dataset([options.dev], False))
    rows = [(clip.corpus, clip.text, row) for clip, row in scored]
    if not rows:
        print("no dev clips: the biases are left unchanged")
        return
    table = {pair: word_error_rates(rows, *pair) for pair in itertools.product(STEPS, STEPS)}
    best = min(table, key=lambda pair: sum(table[pair].values()))
    for pair in ((0.0, 0.0), best):
        print(f"blank {pair[0]:+.1f}, space {pair[1]:+.1f}: {json.dumps(table[pair])}")
    with torch.no_grad():
        net.lm_head.bias[BLANK] += best[0]
        net.lm_head.bias[SPACE] += best[1]
    save_checkpoint(net, options.checkpoint)


if __name__ == "__main__":
    main()
