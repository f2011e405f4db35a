"""Which utterances a head trains on, which guide its choices, and which are read once at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ..speech.manifest import Utterance, split_of

DEV_SHARE = 0.15
"""Share of the encoder's training speakers that a head does not train on, to guide its choices."""


def head_split(row: Utterance) -> str:
    """Return train, dev or test.

    Wake words keep the recipe's split. Of all other speech, what the encoder never trained on (the recipe's dev, and
    eval) is test; dev is taken from its training speech, by speaker where speakers are named.
    """
    split = split_of(row)
    if "wake" in row.corpus:
        return "test" if split == "eval" else split
    if split != "train":
        return "test"
    name = str(row.speaker) if row.by_speaker else row.key
    digest = hashlib.sha256(f"heads {name}".encode()).digest()
    return "dev" if int.from_bytes(digest[:4], "big") / 2**32 < DEV_SHARE else "train"


def rows_for(rows: Sequence[Utterance], split: str) -> list[Utterance]:
    """Return the utterances of a head's split, in their order."""
    return [row for row in rows if head_split(row) == split]


def genders_of(rows: Sequence[Utterance], speakers: Path | None) -> dict[str, str]:
    """Return "m" or "f" for each speaker that a JSON Lines file names, and for AN4's, whose names begin with it."""
    found = {}
    for row in rows:
        if row.corpus == "an4" and row.speaker is not None:
            found[str(row.speaker)] = str(row.speaker).removeprefix("an4-")[0]
    for line in speakers.read_text("utf-8").splitlines() if speakers else ():
        named = json.loads(line)
        found[str(named["speaker"])] = str(named["gender"])
    return found
