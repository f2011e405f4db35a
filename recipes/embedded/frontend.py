"""Convolution features of disturbed copies of the speech, kept on disk: the encoder then trains at twice the speed."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from augment import Augmentation, NoiseBank, disturb
from cache import frames
from clips import ClipStore
from model import Student, normalise, open_checkpoint


def convolved_path(folder: Path, copy: int) -> Path:
    """Where a store keeps the convolution features of one disturbed copy."""
    return folder / f"convolved-{copy}.f16"


@torch.inference_mode()
def convolve_store(student: Student, folder: Path, copy: int, strength: float, device: str = "cpu") -> None:
    """Write one copy [frames, channels] if it is not there, whole or not at all; copy 0 is clean, others disturbed."""
    path, store = convolved_path(folder, copy), ClipStore(folder)
    if path.exists():
        return
    audio, generator = store.audio(), np.random.default_rng([copy, len(store)])

    def samples(i: int) -> np.ndarray:
        start, length = int(store.rows[i]["start"]), int(store.rows[i]["samples"])
        return audio[start : start + length].astype(np.float32) / 32768

    how = Augmentation(strength=strength if copy else 0.0)
    bank = NoiseBank([samples(int(i)) for i in generator.integers(len(store), size=64)], generator) if copy else None
    with open(path.with_suffix(".tmp"), "wb") as file:
        for i in range(len(store)):
            clip = samples(i)
            if frames(len(clip)) < 1:
                continue
            if bank is not None:
                clip = disturb(clip, how, bank, generator)
            features = student.convolve(torch.from_numpy(normalise(clip))[None].to(device))[0]
            file.write(features.half().cpu().numpy().tobytes())
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    """Compute so many copies of every store with the convolutions of a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--copies", type=int, nargs="+", default=[1])
    parser.add_argument("--strength", type=float, default=1.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    student = Student(open_checkpoint(options.checkpoint)).to(device).eval()
    for copy in options.copies:
        for folder in options.stores:
            convolve_store(student, folder, copy, options.strength, device)


if __name__ == "__main__":
    main()
