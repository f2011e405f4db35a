"""Lengths are cut into narrow ranges that leave no clip out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2edge.runtime.bundle.spec import Convolution, ModelSpec, Stage
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.engines._profiles import ShapeProfile, output_steps, pick, plan, time_steps
from wav2edge.runtime.errors import EngineError


@given(longest=st.floats(0.1, 120), share=st.floats(0, 1), stage=st.sampled_from(["full", "frontend", "encoder"]))
def test_every_clip_up_to_the_longest_has_a_range_and_little_padding(
    ctc_spec: ModelSpec, longest: float, share: float, stage: Stage
) -> None:
    profiles = plan(ctc_spec, stage, EngineOptions(longest_seconds=longest))
    samples = max(ctc_spec.min_samples, int(share * round(longest * ctc_spec.sample_rate)))
    length = time_steps(ctc_spec, stage, samples)
    chosen = profiles[pick(profiles, length)]
    padded = chosen.padded(length)
    assert chosen.shortest <= padded <= chosen.longest
    assert padded >= length
    assert padded - length <= max(chosen.longest // 8, chosen.shortest)


@given(longest=st.floats(0.1, 120))
def test_ranges_are_narrow_touch_and_repeat_few_shapes(ctc_spec: ModelSpec, longest: float) -> None:
    profiles = plan(ctc_spec, "full", EngineOptions(longest_seconds=longest))
    assert profiles[-1].longest == round(longest * ctc_spec.sample_rate)
    for index in range(1, len(profiles)):
        before, after = profiles[index - 1], profiles[index]
        assert after.shortest == before.longest + 1
        assert after.longest <= 2.5 * before.longest
    for profile in profiles:
        lengths = range(profile.shortest, profile.longest + 1, max(1, profile.longest // 500))
        assert len({profile.padded(length) for length in lengths}) <= 9


def test_the_live_window_has_a_range_of_its_own(ctc_spec: ModelSpec) -> None:
    profiles = plan(ctc_spec, "full", EngineOptions(longest_seconds=8, window_seconds=3))
    assert profiles[0] == ShapeProfile(48000, 48000, window=True)
    assert pick(profiles, 48000) == 0
    assert profiles[pick(profiles, 47999)].longest == 64000
    assert profiles[0].padded(48000) == 48000


def test_a_clip_that_is_too_long_is_an_error_with_the_remedy(ctc_spec: ModelSpec) -> None:
    profiles = plan(ctc_spec, "full", EngineOptions(longest_seconds=4))
    with pytest.raises(EngineError, match="--longest"):
        pick(profiles, 64001)


def test_nothing_shorter_than_the_model_needs_is_planned(ctc_spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match="at least 400 samples"):
        plan(ctc_spec, "full", EngineOptions(longest_seconds=0.01))


def test_adapters_belong_to_the_encoder(ctc_spec: ModelSpec) -> None:
    """A checkpoint with an adapter halves its frames after the features: 49 features, 25 frames."""
    import dataclasses

    spec = dataclasses.replace(ctc_spec, time=(*ctc_spec.time, Convolution(3, 2, 1)))
    assert time_steps(spec, "encoder", 16000) == 49
    assert output_steps(spec, "frontend", 16000) == 49
    assert output_steps(spec, "encoder", 49) == 25 == spec.frames(16000) == output_steps(spec, "full", 16000)
