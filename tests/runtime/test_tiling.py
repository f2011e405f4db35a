"""Where a clip is cut into pieces: every frame once, and no piece longer than asked for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wav2edge.runtime import tiling
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec
from wav2edge.runtime.errors import BundleError

WAV2VEC2 = tuple(Convolution(*step, 0) for step in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)))


@given(some.integers(400, 10**6), some.integers(1, 80))
def test_pieces_hold_every_frame_once(samples: int, longest: int) -> None:
    frames = (samples - 400) // 320 + 1
    done = 0
    for piece in tiling.pieces(WAV2VEC2, samples, longest):
        assert piece.start == done * 320
        size = piece.stop - piece.start
        assert (size - 400) % 320 == 0
        count = (size - 400) // 320 + 1
        assert 1 <= count <= longest
        done += count
        assert piece.stop <= samples
    assert done == frames


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
