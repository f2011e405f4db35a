"""The manifest, its splits, and real speech as a clip store."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from clips import LONGEST, RATE, ClipStore
from texts import transcript

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "eval": "eval", "test": "eval"}
"""What a manifest may call a split, and what is done with it: only train is trained on, only dev guides choices."""

FEWEST_SPEAKERS = 5
"""Named speakers of a corpus below which its dev is not carved out by speaker: whole speakers would be too coarse."""

DEV_MINUTES = 8.0
"""Most of a corpus that goes into the dev store: enough to choose by, and quick to measure while training."""


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest: audio file, its length in seconds, transcript, speaker (or None), corpus and split.

    `split` is train, dev or eval; `by_speaker`: enough speakers of the corpus are named to carve dev out by them.
    """

    path: Path
    seconds: float
    text: str
    speaker: str | None
    corpus: str
    split: str
    key: str
    licence: str
    by_speaker: bool


def read_manifest(path: Path) -> list[Utterance]:
    """Read a JSON Lines manifest; paths in it are relative to it. Exits with one line at a split it does not know."""
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    speakers: defaultdict[str, set[str]] = defaultdict(set)
    for number, row in enumerate(found, 1):
        row["split"] = row.get("split") or "train"
        if row["split"] not in SPLITS:
            sys.exit(f"error: {path}, line {number}: split {row['split']!r} is none of {', '.join(SPLITS)}")
        if SPLITS[row["split"]] == "train" and row.get("speaker") is not None:
            speakers[row.get("corpus", "speech")].add(str(row["speaker"]))
    # A speaker of several corpora is on the same side in all of them, however few speakers one of them names.
    split_by = {name for names in speakers.values() if len(names) >= FEWEST_SPEAKERS for name in names}
    rows = []
    for row in found:
        corpus = row.get("corpus", "speech")
        named = row.get("speaker") is not None and str(row["speaker"]) in split_by
        rows.append(
            Utterance(
                path.parent / row["path"],
                float(row.get("seconds", 0.0)),
                transcript(row["text"]),
                row.get("speaker"),
                corpus,
                SPLITS[row["split"]],
                row["path"],
                row.get("licence", ""),
                named,
            )
        )
    return rows


def split_of(row: Utterance) -> str:
    """Say where an utterance belongs: train, dev, test (held-out single words) or eval.

    What the manifest sets aside stays so: its eval or test is eval, its dev or validation dev. More dev, and test, are
    carved out of its train: by speaker where enough are named, else by a hash of the path.
    Wake words ("wake" in the corpus name): 8 % test, read by the closing measurement only, and 4 % dev.
    """
    if row.split != "train":
        return row.split
    digest = hashlib.sha256((str(row.speaker) if row.by_speaker else row.key).encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    if "wake" in row.corpus:
        return "test" if share < 0.08 else "dev" if share < 0.12 else "train"
    return "dev" if share < (0.12 if row.by_speaker else 0.06) else "train"


def beyond_dev(rows: list[Utterance]) -> set[str]:
    """Return the keys of the dev utterances that are left out, in an order by hash, past `DEV_MINUTES` of a corpus."""
    taken: defaultdict[str, float] = defaultdict(float)
    left_out = set()
    dev = [row for row in rows if split_of(row) == "dev"]
    for row in sorted(dev, key=lambda row: hashlib.sha256(row.key.encode()).digest()):
        if taken[row.corpus] >= 60 * DEV_MINUTES:
            left_out.add(row.key)
        taken[row.corpus] += row.seconds
    return left_out


def load(path: Path) -> np.ndarray:
    """Read any audio file as 16 kHz mono float32 in [-1, 1]."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE)


def store_real(manifest: Path, folder: Path) -> None:
    """Decode every train and dev utterance of a manifest once, into one clip store for each split.

    Clips longer than `LONGEST` seconds, which the teacher cannot take whole, are left out and counted.
    """
    left_out = 0
    stores = {name: ClipStore(folder / name) for name in ("train", "dev")}
    seen = {name: len(store) for name, store in stores.items()}
    rows = read_manifest(manifest)
    beyond = beyond_dev(rows)
    for row in rows:
        store = stores.get(split_of(row))
        if store is None or row.key in beyond:
            continue
        if soundfile.info(row.path).duration > LONGEST:
            left_out += 1
            continue
        name = split_of(row)
        if seen[name] > 0:
            seen[name] -= 1
            continue
        store.append(load(row.path), row.text, str(row.speaker), row.corpus)
    if left_out:
        print(f"{left_out} clips of train and dev are longer than {LONGEST:.0f} s: left out")
