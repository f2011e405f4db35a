"""From samples to text by transformers' processor, around a model of optimum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from transformers import AutoProcessor

from .line import Recognizer, Samples


class Output(Protocol):
    """What a model of optimum returns."""

    logits: NDArray[np.float32]


def through_processor(model: Callable[..., Output], target: Path) -> Recognizer:
    """A model with the processor that was saved beside it."""
    processor = AutoProcessor.from_pretrained(target)

    def recognize(clip: Samples) -> str:
        inputs = processor(clip, sampling_rate=16000, return_tensors="np")
        logits = model(input_values=inputs.input_values).logits
        return str(processor.batch_decode(logits.argmax(-1))[0])

    return recognize
