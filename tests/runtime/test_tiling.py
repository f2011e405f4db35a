"""Where a clip is cut into pieces: every frame once, no piece longer than asked for, and few different ones."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from numpy.typing import NDArray

from wav2edge.runtime import tiling
from wav2edge.runtime.bundle.spec import (
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
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.errors import BundleError

WAV2VEC2 = tuple(Convolution(*step, 0) for step in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)))


@given(some.integers(400, 10**6), some.lists(some.integers(1, 160), min_size=1, max_size=3, unique=True))
def test_pieces_hold_every_frame_once(samples: int, sizes: list[int]) -> None:
    sizes = sorted(sizes, reverse=True)
    frames = (samples - 400) // 320 + 1
    done = 0
    for piece in tiling.pieces(WAV2VEC2, samples, sizes):
        assert piece.start == done * 320
        size = piece.stop - piece.start
        assert (size - 400) % 320 == 0
        count = (size - 400) // 320 + 1
        assert any(size - size // 10 <= count <= size for size in sizes) or 1 <= count <= min(sizes[-1], frames - done)
        done += count
        assert piece.stop <= samples
    assert done == frames


class FrontEnd:
    """A stand-in for the stages with the real time arithmetic, which notes how many samples it is given.

    A frame's features are the mean of the samples that it sees, of the clip's statistics where the stage takes them;
    statistics are those of the first convolution's windows inside the length.
    """

    def __init__(self) -> None:
        self.given: set[int] = set()

    def __call__(self, stage: Stage, feeds: Arrays) -> Arrays:
        batch = np.asarray(feeds[NORMALIZED], np.float64)
        self.given.add(batch.shape[1])
        if stage == "statistics":
            each = [windows(row[: int(size)], 10, 5) for row, size in zip(batch, np.asarray(feeds[INPUT_LENGTHS]))]
            mean, square = ([np.mean(values**power) for values in each] for power in (1, 2))
            return {NORM_MEAN: np.array(mean)[:, None], NORM_MEAN_SQUARE: np.array(square)[:, None]}
        values = np.array([windows(row, 400, 320) for row in batch])
        if stage == "tile":
            values = values - np.asarray(feeds[NORM_MEAN], np.float64)
        return {FEATURES: values[..., None].astype(np.float32)}


def windows(samples: NDArray[np.float64], kernel: int, stride: int) -> NDArray[np.float64]:
    """The means of windows over samples."""
    means: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(samples, kernel)[::stride].mean(1)
    return means


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_clips_of_any_length_give_few_lengths(ctc_spec: ModelSpec, norm: Literal["layer", "group"]) -> None:
    """OpenVINO keeps something for each length: stretches of equal length gave it 13, and 800 with group norm."""
    spec = dataclasses.replace(ctc_spec, time=WAV2VEC2, norm=norm)
    front_end, random = FrontEnd(), np.random.default_rng(0)
    for samples in (400, 719, 8000, *random.integers(400, 120_000, 60)):
        clip = random.normal(0.1, 1, int(samples)).astype(np.float32)
        found = tiling.features(front_end, spec, clip)
        expected = windows(clip.astype(np.float64), 400, 320)
        if norm == "group":
            expected = expected - windows(clip.astype(np.float64), 10, 5).mean()
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    assert len(front_end.given) == (8 if norm == "layer" else 16)


def test_a_stage_of_a_batch_is_run_in_pieces(ctc_spec: ModelSpec) -> None:
    """Live captions ask for the features of up to 5 s at once, of any length: it was run as it came."""
    spec = dataclasses.replace(ctc_spec, time=WAV2VEC2)
    front_end, random = FrontEnd(), np.random.default_rng(0)
    batch = random.normal(0, 1, (2, 30_000)).astype(np.float32)
    feeds: Arrays = {NORMALIZED: batch, INPUT_LENGTHS: np.array([30_000, 12_345], np.int64)}
    outputs = tiling.run_stage(front_end, spec, "frontend", feeds)
    assert outputs[FEATURE_LENGTHS].tolist() == [93, 38]
    assert outputs[FEATURES].shape == (2, 93, 1)
    for row, length, count in zip(range(2), (30_000, 12_345), (93, 38)):
        expected = windows(batch[row, :length].astype(np.float64), 400, 320)
        assert np.abs(np.asarray(outputs[FEATURES], np.float64)[row, :count, 0] - expected).max() < 1e-6
    assert max(front_end.given) == 400 + 24 * 320


@pytest.mark.parametrize("more", [(), ((3, 2, 1),), ((2, 1, 0), (2, 1, 1))])
def test_features_come_before_adapters_and_squeezing(
    ctc_spec: ModelSpec, more: tuple[tuple[int, int, int], ...]
) -> None:
    """SEW's squeezing was counted among the convolutions in front."""
    front = (Convolution(10, 5, 0), Convolution(3, 2, 0))
    spec = dataclasses.replace(ctc_spec, time=(*front, *(Convolution(*step) for step in more)))
    assert spec.feature_time == front
    assert spec.feature_stride == 10


def test_features_come_before_the_steps_of_the_head(ctc_spec: ModelSpec) -> None:
    """The time-delay layers of an x-vector model pad nothing, so that only the number of steps tells them apart."""
    front = (Convolution(10, 5, 0), Convolution(3, 2, 0))
    spec = dataclasses.replace(ctc_spec, time=(*front, Convolution(5, 1, 0), Convolution(2, 1, 0)), feature_steps=2)
    assert spec.feature_time == front
    assert ModelSpec.from_json(spec.to_json()).feature_time == front


@pytest.mark.parametrize("steps", [0, -1, 8])
def test_more_feature_steps_than_steps_are_refused(ctc_spec: ModelSpec, steps: int) -> None:
    with pytest.raises(BundleError, match=f"feature_steps is {steps}"):
        ModelSpec.from_json({**ctc_spec.to_json(), "feature_steps": steps})
