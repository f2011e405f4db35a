"""The null engine: outputs of the right shapes, no arithmetic; for tests and for timing everything but the model.

Each output is zeros, except that a CTC head's logits put the blank first; output lengths are exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..bundle.read import Bundle, Variant
from ..bundle.spec import FEATURE_LENGTHS, FEATURES, OUTPUT_LENGTHS, STAGES, ModelSpec, Stage
from . import EVERY_OPTION, Arrays, Build, EngineOptions, Purpose

PURPOSE: Purpose = "testing"
LIBRARY: str | None = None
SHARED = True
KEEPS_LENGTHS = False
READS = EVERY_OPTION
build: Build | None = None


def unavailable() -> str | None:
    """The null engine runs everywhere."""
    return None


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """The null engine takes every variant."""
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> NullSession:
    """A session of right shapes for a stage; nothing is read but the spec."""
    return NullSession(bundle.spec, stage)


class NullSession:
    """Shapes from the spec's arithmetic."""

    def __init__(self, spec: ModelSpec, stage: Stage) -> None:
        """Prepare for a stage of a model."""
        self.spec = spec
        self.stage = stage
        self.inputs = STAGES[stage]
        self.outputs = (FEATURES, FEATURE_LENGTHS) if stage == "frontend" else spec.output_names

    def run(self, feeds: Arrays) -> Arrays:
        """Zeros of the right shapes."""
        values = feeds[self.inputs[0]]
        lengths = feeds[self.inputs[1]]
        count: Callable[[int], int] = self.spec.frames
        if self.stage != "full":
            count = self.spec.encoded_frames if self.stage == "encoder" else self.spec.feature_frames
        frames = count(values.shape[1])
        output_lengths = np.array([count(int(length)) for length in lengths], dtype=np.int64)
        if self.stage == "frontend":
            return {FEATURES: np.zeros((len(values), frames, 1), np.float32), FEATURE_LENGTHS: output_lengths}
        sizes = {"batch": len(values), "frames": frames, "labels": len(self.spec.labels)}
        result: dict[str, NDArray[np.generic]] = {}
        for output in self.spec.outputs:
            result[output.name] = np.zeros([sizes.get(axis, 1) for axis in output.axes], np.float32)
            if self.spec.blank is not None and output.axes[-1] == "labels":
                result[output.name][..., self.spec.blank] = 1.0
        if OUTPUT_LENGTHS in self.outputs:
            result[OUTPUT_LENGTHS] = output_lengths
        return result

    def close(self) -> None:
        """The session holds nothing."""
