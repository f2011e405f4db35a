"""Compute the teacher's features of clip stores once and keep them; make speed-perturbed copies of a store.

python -m recipes.embedded.teacher.features WHISPER STORE…
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch

from ..frames import RATE
from ..precision import autocast
from ..speech.clips import LONGEST, ClipStore, store_folder
from ..speech.targets import FEATURES, WIDTHS, frame_starts, open_rows, rows_written
from .whisper import Whisper

CHUNK, BATCH_FRAMES = 64, 1500
"""Clips that are sorted by length together, and most frames of a batch."""


def perturb(source: ClipStore, target: ClipStore, seed: int, skip: str = "", slowest: float = 0.85) -> None:
    """Copy clips at a random speed (pitch and formants move with it), appending to `target` where it stopped.

    Corpora with `skip` in their name are left out, and clips that could grow longer than the teacher takes; the fastest
    is 1 / `slowest`.
    """
    audio, fastest = source.audio(), 1 / slowest
    rows = [row for row in source.rows if not skip or skip not in str(row["corpus"])]
    rows = [row for row in rows if int(str(row["samples"])) <= slowest * LONGEST * RATE]
    for row in rows[len(target) :]:
        factor = random.Random(f"{seed}/{len(target)}").uniform(slowest, fastest)
        clip = soxr.resample(_clip(audio, row), RATE * factor, RATE)
        target.append(clip, str(row["text"]), f"{row['speaker']}@{factor:.2f}", str(row["corpus"]))


def extend_features(store: ClipStore, folder: Path, whisper: Path, device: str = "cpu") -> np.ndarray:
    """Compute what is missing of `features.f16` and return all of it as a memory map [frames, 512]."""
    path = folder / FEATURES
    path.touch()
    starts = frame_starts(store)
    first = int(np.searchsorted(starts, rows_written(path), "right") - 1)
    if first < len(store):
        teacher, audio = Whisper(whisper, device), store.audio()
        with open(path, "r+b") as file:
            file.seek(int(starts[first]) * 2 * WIDTHS[FEATURES])
            for begin in range(first, len(store), CHUNK):
                numbers = range(begin, min(begin + CHUNK, len(store)))
                features = _encode(teacher, audio, store, starts, numbers)
                for i in numbers:
                    file.write(features[i].tobytes())
                file.flush()
    return open_rows(path, int(starts[-1]))


def _encode(
    teacher: Whisper, audio: np.ndarray, store: ClipStore, starts: np.ndarray, numbers: Sequence[int]
) -> dict[int, np.ndarray]:
    """Return features of some clips of a store by clip number, encoded in batches of like length."""
    counts = {i: int(starts[i + 1] - starts[i]) for i in numbers}
    batches: list[list[int]] = [[]]
    for i in sorted(numbers, key=lambda n: counts[n]):
        if batches[-1] and (len(batches[-1]) + 1) * (counts[i] + 12) > BATCH_FRAMES:
            batches.append([])
        batches[-1].append(i)
    features: dict[int, np.ndarray] = {}
    for batch in batches:
        clips = [_clip(audio, store.rows[i]) for i in batch]
        with autocast(teacher.device):
            features.update(zip(batch, teacher.features(clips, [counts[i] for i in batch])))
    return features


def _clip(audio: np.ndarray, row: dict[str, object]) -> np.ndarray:
    start, length = int(str(row["start"])), int(str(row["samples"]))
    return audio[start : start + length].astype(np.float32) / 32768


def main() -> None:
    """Compute the features of one or more stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whisper", type=Path, help="CTranslate2 Whisper directory")
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument(
        "--perturb-from", type=store_folder, help="first fill the one store with speed-perturbed copies of this"
    )
    parser.add_argument("--skip", default="", help="leave out corpora with this in their name when perturbing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.perturb_from is None:
        for folder in options.stores:
            if not folder.is_dir():
                parser.error(f"{folder} is not a clip store; make it first")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.perturb_from:
        perturb(ClipStore(options.perturb_from), ClipStore(options.stores[0]), options.seed, options.skip)
    for folder in options.stores:
        extend_features(ClipStore(folder), folder, options.whisper, device)


if __name__ == "__main__":
    main()
