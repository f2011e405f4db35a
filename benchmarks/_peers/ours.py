"""wav2edge: a variant of a bundle on an engine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from wav2edge.devices.open import open_model
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import library
from wav2edge.runtime.heads import ctc

from .line import Recognizer, Samples, main, nothing_to_prepare


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: engine and variant, joined by a stroke; ``int8``: the engine's best that this machine runs."""
    engine, name = variant.split("/")
    bundle = Bundle.open(target)
    if name == "int8":
        here = (each.variant for each in engines.runnable(bundle, [engine]) if each.runs)
        name = next((found.name for found in here if found is not None and found.precision == "int8"), "int8-s8s8")
    model = open_model(bundle, engine, name, threads=threads)
    model.prepare()

    def recognize(clip: Samples) -> str:
        logits = np.asarray(model.logits([clip])[0])
        return ctc.joined(ctc.greedy(logits, model.spec), model.spec)

    return recognize


if __name__ == "__main__":
    library(sys.argv[3].split("/")[0])  # part of the bare start, as the other peers' libraries are
    main(nothing_to_prepare, load)
