"""CTranslate2, of what its converter takes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np

from .line import Greedy, Recognizer, Samples, main, normalized


def prepare(checkpoint: Path, target: Path, variant: str, clips: Sequence[Samples]) -> None:
    """Convert with its own converter."""
    converter = ctranslate2.converters.TransformersConverter(str(checkpoint))
    converter.convert(str(target / "model"), quantization=variant)
    for name in ("vocab.json", "config.json"):
        shutil.copy(checkpoint / name, target)


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: a type of CTranslate2, such as ``int8``."""
    model = ctranslate2.models.Wav2Vec2(str(target / "model"), compute_type=variant, intra_threads=threads)
    decode = Greedy(target)

    def recognize(clip: Samples) -> str:
        given = ctranslate2.StorageView.from_array(normalized(clip)[None])
        return decode(np.array(model.encode(given, to_cpu=True))[0])

    return recognize


if __name__ == "__main__":
    main(prepare, load)
