"""wav2edge: a variant of a bundle on an engine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from wav2edge.devices.choice import choose
from wav2edge.devices.open import open_model
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import library
from wav2edge.runtime.heads import ctc

from .line import Recognizer, Samples, main, nothing_to_prepare


def load(target: Path, variant: str, threads: int) -> Recognizer:
    """variant: engine and variant, joined by a stroke; empty for those that wav2edge chooses."""
    engine, _, name = variant.partition("/")
    model = open_model(target, engine or None, name or None, threads=threads)
    model.prepare()

    def recognize(clip: Samples) -> str:
        logits = np.asarray(model.logits([clip])[0])
        return ctc.joined(ctc.greedy(logits, model.spec), model.spec)

    return recognize


if __name__ == "__main__":
    place, asked = sys.argv[2:4]
    # Part of the bare start, as the other peers' libraries are.
    library(asked.partition("/")[0] or choose(Bundle.open(place)).engine)
    main(nothing_to_prepare, load)
