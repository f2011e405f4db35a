"""Teacher features of a clip store, computed once and kept; and speed-perturbed copies of a store."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import soxr
import torch
from clips import LONGEST, RATE, ClipStore
from precision import autocast
from teacher import Teacher

RECEPTIVE, HOP = 400, 320
CHUNK, BATCH_FRAMES = 64, 1500  # Clips that are sorted by length together; frames of a batch.


def frames(samples: int) -> int:
    """Frames that a Wav2Vec 2.0 makes of so many samples at 16 kHz."""
    return max(0, (samples - RECEPTIVE) // HOP + 1)


def frame_starts(store: ClipStore) -> np.ndarray:
    """First feature row of every clip, and the total at the end [clips + 1]."""
    return np.concatenate([[0], np.cumsum([frames(int(r["samples"])) for r in store.rows])]).astype(np.int64)


def perturb(source: ClipStore, target: ClipStore, seed: int, skip: str = "", slowest: float = 0.85) -> None:
    """Copy clips at a random speed (pitch and formants move with it), appending to `target` where it stopped.

    Corpora with `skip` in their name are left out, and clips that could grow longer than the teacher takes; the fastest
    is 1 / `slowest`.
    """
    audio, fastest = source.audio(), 1 / slowest
    rows = [row for row in source.rows if not skip or skip not in str(row["corpus"])]
    rows = [row for row in rows if int(row["samples"]) <= slowest * LONGEST * RATE]
    for row in rows[len(target) :]:
        factor = random.Random(f"{seed}/{len(target)}").uniform(slowest, fastest)
        start, length = int(row["start"]), int(row["samples"])
        clip = audio[start : start + length].astype(np.float32) / 32768
        clip = soxr.resample(clip, RATE * factor, RATE)
        target.append(clip, str(row["text"]), f"{row['speaker']}@{factor:.2f}", str(row["corpus"]))


def extend_features(store: ClipStore, folder: Path, whisper: Path, device: str = "cpu") -> np.ndarray:
    """Compute what is missing of `features.f16` and return all of it as a memory map [frames, width]."""
    path, width = folder / "features.f16", 512
    path.touch()
    starts = frame_starts(store)
    done = path.stat().st_size // (2 * width)
    first = int(np.searchsorted(starts, done, "right") - 1)
    if first < len(store):
        teacher, audio = Teacher(whisper, device), store.audio()
        with open(path, "r+b") as file:
            file.seek(int(starts[first]) * 2 * width)
            for begin in range(first, len(store), CHUNK):
                numbers = range(begin, min(begin + CHUNK, len(store)))
                found = _encode(teacher, audio, store, starts, list(numbers))
                for i in numbers:
                    file.write(found[i].tobytes())
                file.flush()
    return features_of(folder, int(starts[-1]))


def _encode(
    teacher: Teacher, audio: np.ndarray, store: ClipStore, starts: np.ndarray, numbers: list[int]
) -> dict[int, np.ndarray]:
    """Features of some clips of a store, encoded in batches of like length."""
    counts = {i: int(starts[i + 1] - starts[i]) for i in numbers}
    found: dict[int, np.ndarray] = {}
    batch: list[int] = []

    def flush() -> None:
        rows = [store.rows[i] for i in batch]
        clips = [audio[int(r["start"]) : int(r["start"]) + int(r["samples"])].astype(np.float32) / 32768 for r in rows]
        with autocast(teacher.device):
            found.update(zip(batch, teacher.features(clips, [counts[i] for i in batch])))
        batch.clear()

    for i in sorted(numbers, key=lambda n: counts[n]):
        if batch and (len(batch) + 1) * (counts[i] + 12) > BATCH_FRAMES:
            flush()
        batch.append(i)
    flush()
    return found


def features_of(folder: Path, rows: int | None = None, width: int = 512) -> np.ndarray:
    """Open the features that are there as a read-only memory map [frames, width]."""
    path = folder / "features.f16"
    return open_rows(path, path.stat().st_size // (2 * width) if rows is None else rows, width)


def open_rows(path: Path, rows: int, width: int) -> np.ndarray:
    """Open a file of float16 rows as a read-only memory map [rows, width]; an empty one as an empty array."""
    return np.memmap(path, np.float16, "r", shape=(rows, width)) if rows else np.zeros((0, width), np.float16)


def main() -> None:
    """Compute the features of one or more stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whisper", type=Path, help="CTranslate2 Whisper directory")
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument(
        "--perturb-from", type=Path, help="first fill the one store with speed-perturbed copies of this"
    )
    parser.add_argument("--skip", default="", help="leave out corpora with this in their name when perturbing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.perturb_from:
        perturb(ClipStore(options.perturb_from), ClipStore(options.stores[0]), options.seed, options.skip)
    for folder in options.stores:
        extend_features(ClipStore(folder), folder, options.whisper, device)


if __name__ == "__main__":
    main()
