"""Run a model's front end (its convolutions) in pieces of half a second, whose tensors fit a processor's cache.

Its tensors are the largest of the model by far (base shape, 30 s: 512 channels of 96 000 frames), although the
receptive field of a frame is 25 ms. So the convolutions are run on one stretch of the waveform after the other, and
together the stretches give the features of the whole clip, up to rounding (docs/explanation/memory.md):

1. A stretch for the frames [a, b) is the receptive field of these frames, no more: neighbours overlap by the receptive
   field less the stride, and no frame is computed near an edge.
2. Where the first convolution is normalised over the clip's frames (group norm), a first pass computes the mean and the
   mean square of each channel in each stretch. Their average, weighted by frames and taken in float64, is the clip's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .bundle.spec import (
    FEATURES,
    INPUT_LENGTHS,
    NORM_MEAN,
    NORM_MEAN_SQUARE,
    NORMALIZED,
    Convolution,
    ModelSpec,
    Stage,
)
from .engines import Arrays

SECONDS = 0.5
"""Length of a stretch in seconds. ``benchmarks/memory.py --piece`` prints time and memory of others: at base shape
OpenVINO needs 16 MB less with this one than with 1 s, and neither engine more time."""

Run = Callable[[Stage, Arrays], Arrays]
"""Runs a stage of the model on its inputs."""


def stages(spec: ModelSpec) -> tuple[Stage, ...]:
    """The stages that run a model's front end in pieces, all of which a variant must have."""
    return ("frontend",) if spec.norm == "layer" else ("statistics", "tile")


def frames(spec: ModelSpec, samples: int) -> int:
    """How many frames of features a clip has; 0 where it is too short."""
    return max(0, _frames(spec.feature_time, samples))


def features(run: Run, spec: ModelSpec, normalized: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features [frames, channels] of one clip [samples] that is normalised already and has at least one frame.

    Raises EngineError as ``run`` does.
    """
    statistics: dict[str, NDArray[np.float32]] = {}
    if spec.norm != "layer":
        statistics = _statistics(run, spec, normalized)
    parts = []
    for piece in pieces(spec.feature_time, len(normalized), _longest(spec)):
        if statistics:
            outputs = run("tile", {NORMALIZED: normalized[None, piece], **statistics})
        else:
            lengths = np.array([piece.stop - piece.start], dtype=np.int64)
            outputs = run("frontend", {NORMALIZED: normalized[None, piece], INPUT_LENGTHS: lengths})
        parts.append(np.asarray(outputs[FEATURES][0], dtype=np.float32))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def pieces(steps: tuple[Convolution, ...], samples: int, longest: int) -> Iterator[slice]:
    """The stretches of samples that a clip is run in, of about equal length and at most ``longest`` frames each."""
    stride, field = 1, 1
    for step in reversed(steps):
        field = (field - 1) * step.stride + step.kernel
        stride *= step.stride
    count = _frames(steps, samples)
    parts = -(-count // longest)
    for part in range(parts):
        begin, end = count * part // parts, count * (part + 1) // parts
        yield slice(begin * stride, (end - 1) * stride + field)


def _statistics(run: Run, spec: ModelSpec, normalized: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Rule 2; every frame of the first convolution is in one stretch."""
    first = spec.feature_time[:1]
    total = _frames(first, len(normalized))
    sums: dict[str, NDArray[np.float64]] = {}
    for piece in pieces(first, len(normalized), _longest(spec) * spec.feature_stride // first[0].stride):
        size = piece.stop - piece.start
        outputs = run("statistics", {NORMALIZED: normalized[None, piece], INPUT_LENGTHS: np.array([size], np.int64)})
        for name in (NORM_MEAN, NORM_MEAN_SQUARE):
            part = outputs[name].astype(np.float64) * (_frames(first, size) / total)
            sums[name] = sums[name] + part if name in sums else part
    return {name: values.astype(np.float32) for name, values in sums.items()}


def _frames(steps: tuple[Convolution, ...], samples: int) -> int:
    for kernel, stride, _ in steps:
        samples = (samples - kernel) // stride + 1
    return samples


def _longest(spec: ModelSpec) -> int:
    """Frames of a stretch."""
    return max(1, round(SECONDS * spec.sample_rate / spec.feature_stride))
