"""Kept features are what a pass over everything gives, and are computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import Convolution, ModelSpec
from wav2edge.runtime.live.features import FeatureCache, can_keep

RATE, STRIDE, FIELD = 16000, 320, 400


def frontend(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A stand-in with the real time arithmetic: each frame is the mean of the samples that it sees."""
    frames = (len(samples) - FIELD) // STRIDE + 1
    rows = [samples[i * STRIDE : i * STRIDE + FIELD].mean() for i in range(frames)]
    return np.array(rows, np.float32)[:, None]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("overlap", [0, 25])
def test_kept_features_are_those_of_one_pass(ctc_spec: ModelSpec, normalize: bool, overlap: int) -> None:
    cache = FeatureCache(replace(ctc_spec, normalize=normalize), keep=100, overlap=overlap)
    sound = np.random.default_rng(0).normal(0.01, 0.1, 20 * RATE).astype(np.float32)
    sound[: 2 * RATE] *= 0.1  # it begins quietly: what the first second says of loudness is wrong
    computed, frozen = 0, []
    for end in range(RATE, len(sound) + 1, RATE // 2):
        if cache.stale(sound[:end]):
            cache.freeze(sound[:end])
            frozen.append(end // RATE)
        missing = cache.missing(end)
        assert missing is not None
        start, stop = missing
        assert stop <= end and start % STRIDE == 0
        fresh = frontend(cache.normalized(sound[start:stop]))
        computed += len(fresh)
        cache.add(fresh, start // STRIDE)
        assert cache.missing(end) is None
        kept, first = cache.last(ctc_spec.frames(end))
        assert len(kept) <= 100
        everything = frontend(cache.normalized(sound[:end]))
        np.testing.assert_allclose(kept, everything[first:], atol=1e-5)
    hops = 39
    assert frozen[:1] == ([1] if normalize else []) and len(frozen) <= 14
    assert not normalize or cache.normalized(sound).std() == pytest.approx(1, abs=0.11), "it follows the loudness"
    assert computed <= hops * (25 + overlap) + 100 * (len(frozen) + 1)


def test_a_jump_drops_what_no_window_needs(ctc_spec: ModelSpec) -> None:
    cache = FeatureCache(replace(ctc_spec, normalize=False), keep=100)
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    cache.add(frontend(sound[:RATE]), 0)
    missing = cache.missing(20 * RATE)
    assert missing is not None
    assert missing[1] - missing[0] <= 100 * STRIDE + FIELD
    cache.add(frontend(sound[missing[0] : missing[1]]), missing[0] // STRIDE)
    kept, first = cache.last(ctc_spec.frames(20 * RATE))
    np.testing.assert_allclose(kept, frontend(sound)[first:], atol=1e-5)


def test_models_whose_output_frames_are_others_keep_nothing(ctc_spec: ModelSpec) -> None:
    assert can_keep(ctc_spec)
    assert not can_keep(replace(ctc_spec, time=(*ctc_spec.time, Convolution(3, 2, 1))))
    assert not can_keep(replace(ctc_spec, frontend="log-mel"))
