"""The time arithmetic and the spec's way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2edge.runtime.bundle.spec import Convolution, ModelSpec
from wav2edge.runtime.errors import BundleError
from wav2edge.runtime.heads import ctc, xvector

STEPS = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(0, 3)).filter(lambda s: s[0] > s[2]),
    min_size=1,
    max_size=4,
)


def with_time(spec: ModelSpec, steps: list[tuple[int, int, int]]) -> ModelSpec:
    return ModelSpec.from_json({**spec.to_json(), "time": steps})


def test_wav2vec2_gives_49_frames_a_second(ctc_spec: ModelSpec) -> None:
    assert ctc_spec.frames(16000) == 49
    assert (ctc_spec.stride, ctc_spec.receptive_field, ctc_spec.min_samples) == (320, 400, 400)
    assert ctc_spec.frames(399) == 0
    assert ctc_spec.frames(400) == 1


@given(steps=STEPS, samples=st.integers(1, 400))
def test_frames_counts_the_positions_of_a_real_convolution(
    ctc_spec: ModelSpec, steps: list[tuple[int, int, int]], samples: int
) -> None:
    """The arithmetic is held against numpy's own valid convolution on padded signals."""
    length = samples
    for kernel, stride, padding in steps:
        padded = np.ones(length + 2 * padding)
        length = len(np.convolve(padded, np.ones(kernel), "valid")[::stride]) if len(padded) >= kernel else 0
        if length == 0:
            break
    assert with_time(ctc_spec, steps).frames(samples) == length


@given(steps=STEPS)
def test_min_samples_is_the_shortest_clip_with_a_frame(ctc_spec: ModelSpec, steps: list[tuple[int, int, int]]) -> None:
    spec = with_time(ctc_spec, steps)
    assert spec.frames(spec.min_samples) >= 1
    assert spec.min_samples == 1 or spec.frames(spec.min_samples - 1) == 0


def test_a_spec_survives_json(ctc_spec: ModelSpec) -> None:
    again = ModelSpec.from_json(json.loads(json.dumps(ctc_spec.to_json())))
    assert again == ctc_spec
    assert again.time[0] == Convolution(10, 5, 0)


def test_keys_of_a_newer_version_are_ignored(ctc_spec: ModelSpec) -> None:
    values = {**ctc_spec.to_json(), "colour": "green", "head_options": {"silent": [], "hue": 3}}
    assert ModelSpec.from_json(values).options(ctc.Options).silent == ()


@pytest.mark.parametrize("damage", [{"time": "x"}, {"outputs": [{}]}, {"labels": None}, {"time": [[1, 2]]}])
def test_a_damaged_spec_is_one_error(ctc_spec: ModelSpec, damage: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="damaged"):
        ModelSpec.from_json({**ctc_spec.to_json(), **damage})


@pytest.mark.parametrize("head", ["telepathy", "../ctc", "os"])
def test_an_unknown_head_is_named(ctc_spec: ModelSpec, head: str) -> None:
    with pytest.raises(BundleError, match=r"head|no head"):
        ModelSpec.from_json({**ctc_spec.to_json(), "head": head})


def test_output_lengths_exist_only_with_a_time_axis(ctc_spec: ModelSpec) -> None:
    assert ctc_spec.output_names == ("logits", "output_lengths")
    pooled = ModelSpec.from_json(
        {
            **ctc_spec.to_json(),
            "head": "sequence_classification",
            "head_options": {},
            "outputs": [{"name": "logits", "axes": ["batch", "labels"], "meaning": ""}],
        }
    )
    assert pooled.output_names == ("logits",)


def test_options_are_given_only_as_the_class_of_their_head(ctc_spec: ModelSpec) -> None:
    assert ctc_spec.options(ctc.Options) is ctc_spec.head_options
    with pytest.raises(TypeError, match=r"head ctc are not .*xvector.Options"):
        ctc_spec.options(xvector.Options)
