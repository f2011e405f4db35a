"""The manifest, its splits, and real speech as a clip store.

    python -m recipes.embedded.speech.manifest MANIFEST FOLDER

writes manifests for wav2edge of the splits that guide choices: ``train.jsonl``, ``calibration.jsonl`` (100 clips of
train), ``dev.jsonl``, and ``<corpus>-dev.jsonl`` of each corpus. Test and eval are left to the closing measurement.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from wav2edge.measure import records
from wav2edge.runtime.audio import read as audio
from wav2edge.runtime.errors import Wav2EdgeError

from ..frames import RATE
from .clips import LONGEST, ClipStore
from .texts import transcript

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "eval": "eval", "test": "eval"}
"""The names that a manifest may give a split, and the split each means: train is trained on, dev guides choices."""

FEWEST_SPEAKERS = 5
"""Corpora with fewer named speakers are split by file: one speaker would be too large a part of them."""

DEV_MINUTES = 8.0
"""Most minutes of a corpus in the dev store, so that measuring on it stays quick during training."""


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest: audio file, its length in seconds, transcript, speaker (or None), corpus and split.

    `split` is train, dev or eval; `by_speaker`: dev is taken from train by whole speakers.
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
    """Read a JSON Lines manifest; paths in it are relative to it.

    Exits with one line at what is not a row with `path` and `text`, or of an unknown split.
    """
    found = list(_rows(path))
    speakers: defaultdict[str, set[str]] = defaultdict(set)
    for row in found:
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
                float(row.get("seconds") or 0.0),
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


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a manifest."""

    def refuse(problem: str) -> NoReturn:
        sys.exit(f"error: {problem}")

    try:
        for source, values in records.json_lines(path, refuse):
            if missing := [name for name in ("path", "text") if not isinstance(values.get(name), str)]:
                refuse(f"{source}: no `{missing[0]}`, or not a text")
            row = {**values, "split": values.get("split") or "train"}
            if row["split"] not in SPLITS:
                refuse(f"{source}: split {row['split']!r} is not one of {', '.join(SPLITS)}")
            yield row
    except Wav2EdgeError as error:
        refuse(str(error))


def split_of(row: Utterance) -> str:
    """Return the split of an utterance: train, dev, test (held-out wake words) or eval.

    The manifest's own eval, test and dev are kept (its test is eval). More dev, and test, are taken from its train: by
    speaker where enough are named, else by a hash of the path.
    Wake words ("wake" in the corpus name): 8 % test, used by the closing measurement only, and 4 % dev.
    """
    if row.split != "train":
        return row.split
    digest = hashlib.sha256((str(row.speaker) if row.by_speaker else row.key).encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    if "wake" in row.corpus:
        return "test" if share < 0.08 else "dev" if share < 0.12 else "train"
    return "dev" if share < (0.12 if row.by_speaker else 0.06) else "train"


def rows_of(rows: list[Utterance], split: str) -> list[Utterance]:
    """Return the utterances of a split in their order; of dev at most `DEV_MINUTES` of a corpus, chosen by hash."""
    chosen = [row for row in rows if split_of(row) == split]
    if split != "dev":
        return chosen
    minutes: defaultdict[str, float] = defaultdict(float)
    kept = set()
    for row in sorted(chosen, key=lambda row: hashlib.sha256(row.key.encode()).digest()):
        if minutes[row.corpus] < DEV_MINUTES:
            kept.add(row.key)
        minutes[row.corpus] += row.seconds / 60
    return [row for row in chosen if row.key in kept]


def write_manifest(rows: Sequence[Utterance], path: Path) -> Path:
    """Write a manifest of absolute paths for wav2edge and return its path."""
    lines = [
        json.dumps({"path": str(r.path.resolve()), "text": r.text, "corpus": r.corpus, "seconds": r.seconds})
        for r in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def every(rows: list[Utterance], count: int) -> list[Utterance]:
    """Return at most ``count`` rows, evenly spread."""
    step = max(1, -(-len(rows) // count))
    return rows[::step]


def load(path: Path) -> np.ndarray:
    """Read any audio file as 16 kHz mono float32 in [-1, 1]; exits with one line where it is damaged or cut short."""
    try:
        return audio.load(path, RATE)
    except Wav2EdgeError as error:
        raise SystemExit(f"error: {error}") from error


def store_real(manifest: Path, folder: Path) -> None:
    """Decode every train and dev utterance of a manifest once, into one clip store for each split.

    Clips longer than `LONGEST` seconds, which the teacher cannot take whole, are left out and counted. What a store
    holds already is not decoded again. Exits with one line where it holds a clip that is not, or no longer, of its
    split in the manifest: training would go on with it.
    """
    left_out, rows = 0, read_manifest(manifest)
    for name in ("train", "dev"):
        store = ClipStore(folder / name)
        wanted = rows_of(rows, name)
        there = {str(row.get("key")) for row in store.rows}
        if foreign := sorted(there - {row.key for row in wanted}):
            where = f"{folder / name} holds {foreign[0]}"
            raise SystemExit(f"{where}, which is not of {name} in {manifest}; choose another --work folder")
        for row in wanted:
            if row.key in there:
                continue
            samples = load(row.path)
            if len(samples) > LONGEST * RATE:
                left_out += 1
            else:
                store.append(samples, row.text, str(row.speaker), row.corpus, row.key)
    if left_out:
        print(f"{left_out} clips of train and dev are longer than {LONGEST:.0f} s: left out")


def main() -> None:
    """Write the manifests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(options.manifest)
    train, dev = rows_of(rows, "train"), rows_of(rows, "dev")
    write_manifest(train, options.folder / "train.jsonl")
    write_manifest(every(train, 100), options.folder / "calibration.jsonl")
    write_manifest(dev, options.folder / "dev.jsonl")
    for corpus in sorted({row.corpus for row in dev}):
        write_manifest([row for row in dev if row.corpus == corpus], options.folder / f"{corpus}-dev.jsonl")


if __name__ == "__main__":
    main()
