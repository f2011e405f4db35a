"""The output labels of the checkpoint, and text to label ids and back."""

from __future__ import annotations

import numpy as np

LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"]
IDS = {label: i for i, label in enumerate(LABELS)}
BLANK, SPACE = IDS["<pad>"], IDS["|"]
FIRST_WRITTEN = SPACE
"""Labels below this id write nothing."""


def encode(text: str) -> list[int]:
    """Turn a normalised transcript into label ids; a space becomes `|`."""
    return [IDS["|" if c == " " else c] for c in text]


def decode_greedy(ids: np.ndarray) -> str:
    """Turn the best label of every frame [frames] into text: repeats merged, blanks dropped."""
    kept = ids[np.concatenate([[True], ids[1:] != ids[:-1]])] if len(ids) else ids
    return " ".join("".join(LABELS[i] for i in kept if i >= FIRST_WRITTEN).replace("|", " ").split())
