"""The manifest, its splits, and real speech as a clip store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from clips import RATE, ClipStore
from texts import transcript


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest: audio file, its length in seconds, transcript, speaker (or None), corpus and split."""

    path: Path
    seconds: float
    text: str
    speaker: str | None
    corpus: str
    split: str
    key: str
    licence: str


def read_manifest(path: Path) -> list[Utterance]:
    """Read a JSON Lines manifest; paths in it are relative to it."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        rows.append(
            Utterance(
                path.parent / row["path"],
                float(row.get("seconds", 0.0)),
                transcript(row["text"]),
                row.get("speaker"),
                row.get("corpus", "speech"),
                row.get("split", "train"),
                row["path"],
                row.get("licence", ""),
            )
        )
    return rows


def split_of(row: Utterance) -> str:
    """Say where an utterance belongs: train, dev, test (held-out single words) or eval.

    Dev and test are carved out of train: by speaker where there are several named ones, else by a hash of the path.
    Wake words ("wake" in the corpus name): 8 % test, read by the closing measurement only, and 4 % dev.
    """
    if row.split == "eval":
        return "eval"
    by_speaker = row.speaker is not None and row.speaker != "LJ"
    digest = hashlib.sha256((str(row.speaker) if by_speaker else row.key).encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    if "wake" in row.corpus:
        return "test" if share < 0.08 else "dev" if share < 0.12 else "train"
    return "dev" if share < (0.12 if by_speaker else 0.06) else "train"


def load(path: Path) -> np.ndarray:
    """Read any audio file as 16 kHz mono float32 in [-1, 1]."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE)


def store_real(manifest: Path, folder: Path) -> None:
    """Decode every train and dev utterance of a manifest once, into one clip store for each split."""
    stores = {name: ClipStore(folder / name) for name in ("train", "dev")}
    seen = {name: len(store) for name, store in stores.items()}
    for row in read_manifest(manifest):
        store = stores.get(split_of(row))
        if store is None:
            continue
        name = split_of(row)
        if seen[name] > 0:
            seen[name] -= 1
            continue
        store.append(load(row.path), row.text, str(row.speaker), row.corpus)
