"""Run a model's front end (its convolutions) in pieces of at most five seconds, whose tensors are small.

Its tensors are the largest of the model by far (base shape, 30 s: 512 channels of 96 000 frames), although the
receptive field of a frame is 25 ms. So the convolutions are run on one stretch of the waveform after the other, and
together the stretches give the features of the whole clip, up to rounding (docs/explanation/memory.md):

1. A stretch for the frames [a, b) is the receptive field of these frames, no more: neighbours overlap by the receptive
   field less the stride, and no frame is computed near an edge.
2. Where the first convolution is normalised over the clip's frames (group norm), a first pass computes the mean and the
   mean square of each channel in each stretch. Their average, weighted by frames and taken in float64, is the clip's.
   These stretches do not depend on those that follow, so that live captions have the features of the whole clip: in
   INT8 to the last bit.
3. Stretches are of five seconds, of two, of one and of half a second. What is left is padded with zeros to the next
   whole tenth of a second, and to a longer stretch where a tenth of that is missing at most. So an engine that keeps
   what it prepared for each length (OpenVINO) meets eight at most. What was added gives frames of its own, which are
   dropped, or is masked by the length. Live captions use stretches of half a second and less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .bundle.spec import (
    FEATURE_LENGTHS,
    FEATURES,
    INPUT_LENGTHS,
    NORM_MEAN,
    NORM_MEAN_SQUARE,
    NORMALIZED,
    Convolution,
    ModelSpec,
    Stage,
)
from .engines import Arrays, contradiction
from .errors import EngineError
from .lengths import extended

SECONDS = 5.0
"""Length of the longest stretches in seconds. ``benchmarks/memory.py --piece`` prints time and memory of others: at
base shape in INT8 stretches of three seconds take 0.87 to 0.89 of the front end's time with stretches of one second,
those of five 0.98 of that on OpenVINO, for 15 to 47 MB more, and those of ten are slower with layer norm."""

_SHORTER = (2.0, 1.0, 0.5)
"""Lengths of the others in seconds."""

LIVE_SECONDS = 0.5
"""``SECONDS`` in live captions, whose utterances are short and which run beside other programs: OpenVINO then needs
less than 300 MB at base shape, 30 MB less."""

_MISSING = 10
"""A stretch may lack one in so many of its frames."""

_PARTS = 5
"""What is left of a clip is padded to the next of so many parts of the shortest stretch."""

Run = Callable[[Stage, Arrays], Arrays]
"""Runs a stage of the model on its inputs."""


def stages(spec: ModelSpec) -> tuple[Stage, ...]:
    """The stages that run a model's front end in pieces, all of which a variant must have."""
    return ("frontend",) if spec.norm == "layer" else ("statistics", "tile")


def long_stretches(spec: ModelSpec) -> frozenset[int]:
    """The samples of the stretches of a second and more, which long clips consist of."""
    sizes = [size for size in _sizes(spec) if size * spec.feature_stride >= spec.sample_rate]
    return frozenset(_samples(spec.feature_time, size) for size in sizes)


def frames(spec: ModelSpec, samples: int) -> int:
    """How many frames of features a clip has; 0 where it is too short."""
    return spec.feature_frames(samples)


def features(
    run: Run, spec: ModelSpec, normalized: NDArray[np.float32], longest: float | None = None, length: int = 0
) -> NDArray[np.float32]:
    """The features [frames, channels] of one clip [samples] that is normalised already and has at least one frame.

    longest: length of the longest stretches in seconds (None: ``SECONDS``). length: frames to give at least; zeros
    follow the clip's.
    Raises EngineError as ``run`` does, and BundleError where a stage gives other frames than the spec says.
    """
    statistics = {} if spec.norm == "layer" else _statistics(run, spec, normalized)
    return _in_pieces(run, spec, normalized, statistics, _sizes(spec, longest), length)


def run_stage(run: Run, spec: ModelSpec, stage: Stage, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
    """The outputs of one of ``stages`` on stretches of any length, a batch of them; features are padded with zeros.

    Raises as ``features``.
    """
    batch = np.asarray(feeds[NORMALIZED], dtype=np.float32)
    if stage == "statistics":
        step, *sizes = _in_first(spec, [_step(spec), *_sizes(spec)])
        padded = _padded(batch, spec.feature_time[:1], step, sizes)
        return dict(run(stage, {NORMALIZED: padded, INPUT_LENGTHS: feeds[INPUT_LENGTHS]}))
    statistics = [name for name in (NORM_MEAN, NORM_MEAN_SQUARE) if name in feeds]
    lengths = feeds[INPUT_LENGTHS] if stage == "frontend" else np.full(len(batch), batch.shape[1])
    sizes = _sizes(spec, LIVE_SECONDS)
    each = [
        _in_pieces(run, spec, clip[: int(length)], {name: feeds[name][row : row + 1] for name in statistics}, sizes)
        for row, (clip, length) in enumerate(zip(batch, lengths))
    ]
    joined, counts = batched(each)
    return {FEATURES: joined, FEATURE_LENGTHS: counts}


def batched(rows: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows [length, …] as one batch [rows, longest, …], padded with zeros, and their lengths [rows]."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    if len(rows) == 1:
        return rows[0][None], lengths
    batch = np.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]), dtype=np.float32)
    for target, row in zip(batch, rows):
        target[: len(row)] = row
    return batch, lengths


def pieces(steps: tuple[Convolution, ...], samples: int, sizes: Sequence[int]) -> Iterator[slice]:
    """The stretches of samples that a clip is run in; sizes: in frames, the longest first, see rule 3."""
    stride, field = _stride(steps), _samples(steps, 1)
    count = _frames(steps, samples)
    begin = 0
    while begin < count:
        left = count - begin
        size = min(left, next((size for size in sizes if _fills(left, size)), left))
        yield slice(begin * stride, (begin + size - 1) * stride + field)
        begin += size


def _in_pieces(
    run: Run,
    spec: ModelSpec,
    normalized: NDArray[np.float32],
    statistics: Arrays,
    sizes: Sequence[int],
    length: int = 0,
) -> NDArray[np.float32]:
    """Rules 1 and 3: a clip's features, as ``features`` gives them; statistics: of the clip, of rule 2."""
    steps = spec.feature_time
    whole: NDArray[np.float32] | None = None
    done = 0
    for piece in pieces(steps, len(normalized), sizes):
        count = _frames(steps, piece.stop - piece.start)
        values = _padded(normalized[None, piece], steps, _step(spec), sizes)
        if statistics:
            outputs = run("tile", {NORMALIZED: values, **statistics})
        else:
            outputs = run("frontend", {NORMALIZED: values, INPUT_LENGTHS: np.array([values.shape[1]], np.int64)})
        given, expected = outputs[FEATURES].shape[1], _frames(steps, values.shape[1])
        if given != expected:
            raise contradiction(given, expected)
        if whole is None:
            whole = np.empty((max(_frames(steps, len(normalized)), length), outputs[FEATURES].shape[2]), np.float32)
        whole[done : done + count] = outputs[FEATURES][0, :count]
        done += count
    if whole is None:
        raise EngineError(f"{len(normalized)} samples give no frame; the front end needs {_samples(steps, 1)}")
    whole[done:] = 0
    return whole


def _statistics(run: Run, spec: ModelSpec, normalized: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Rule 2; every frame of the first convolution is in one stretch."""
    first = spec.feature_time[:1]
    total = _frames(first, len(normalized))
    sums: dict[str, NDArray[np.float64]] = {}
    for piece in pieces(first, len(normalized), _in_first(spec, _sizes(spec))):
        size = np.array([piece.stop - piece.start], np.int64)
        outputs = run_stage(run, spec, "statistics", {NORMALIZED: normalized[None, piece], INPUT_LENGTHS: size})
        for name in (NORM_MEAN, NORM_MEAN_SQUARE):
            part = outputs[name].astype(np.float64) * (_frames(first, int(size[0])) / total)
            sums[name] = sums[name] + part if name in sums else part
    return {name: values.astype(np.float32) for name, values in sums.items()}


def _padded(
    batch: NDArray[np.float32], steps: tuple[Convolution, ...], step: int, sizes: Sequence[int]
) -> NDArray[np.float32]:
    """Rule 3: samples [batch, samples] with zeros up to a multiple of ``step`` frames, or to one of ``sizes``."""
    count = _frames(steps, batch.shape[1])
    full = [size for size in sizes if _fills(count, size) and count <= size]
    length = _samples(steps, full[0] if full else -(-count // step) * step)
    return batch if length <= batch.shape[1] else extended(batch, length)


def _frames(steps: tuple[Convolution, ...], samples: int) -> int:
    for kernel, stride, _ in steps:
        samples = (samples - kernel) // stride + 1
    return samples


def _samples(steps: tuple[Convolution, ...], frames: int) -> int:
    """How many samples so many frames depend on."""
    for step in reversed(steps):
        frames = (frames - 1) * step.stride + step.kernel
    return frames


def _stride(steps: tuple[Convolution, ...]) -> int:
    return math.prod(step.stride for step in steps)


def _sizes(spec: ModelSpec, longest: float | None = None) -> list[int]:
    """Frames of a clip's stretches, the longest first."""
    longest = longest or SECONDS
    lengths = (longest, *(length for length in _SHORTER if length < longest))
    return [max(1, round(length * spec.sample_rate / spec.feature_stride)) for length in lengths]


def _in_first(spec: ModelSpec, frames: Sequence[int]) -> list[int]:
    """Each number of frames of features as frames of the first convolution."""
    return [count * spec.feature_stride // spec.feature_time[0].stride for count in frames]


def _fills(frames: int, size: int) -> bool:
    """Whether so many frames fill a stretch of ``size``, up to the share that may be missing."""
    return frames >= size - size // _MISSING


def _step(spec: ModelSpec) -> int:
    """Frames of whose multiples stretches are."""
    return max(1, _sizes(spec)[-1] // _PARTS)
