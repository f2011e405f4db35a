"""Kept features are what a pass over everything gives, and are computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import FEATURES, NORM_MEAN, NORM_MEAN_SQUARE, NORMALIZED, Convolution, ModelSpec
from wav2edge.runtime.engines import Arrays
from wav2edge.runtime.live.features import FeatureCache, can_keep

RATE, STRIDE, FIELD = 16000, 320, 400


def frontend(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A stand-in with the real time arithmetic: each frame is the mean of the samples that it sees."""
    frames = (len(samples) - FIELD) // STRIDE + 1
    rows = [samples[i * STRIDE : i * STRIDE + FIELD].mean() for i in range(frames)]
    return np.array(rows, np.float32)[:, None]


@pytest.mark.parametrize("normalize", [True, False])
def test_kept_features_are_those_of_one_pass(ctc_spec: ModelSpec, normalize: bool) -> None:
    cache = FeatureCache(replace(ctc_spec, normalize=normalize), keep=100)
    sound = np.random.default_rng(0).normal(0.01, 0.1, 20 * RATE).astype(np.float32)
    sound[: 2 * RATE] *= 0.1  # it begins quietly: what the first second says of loudness is wrong
    computed, frozen = 0, []
    for end in range(RATE, len(sound) + 1, RATE // 2):
        if cache.stale(sound[:end]):
            cache.freeze(sound[:end])
            frozen.append(end // RATE)
        missing = cache.missing(end)
        assert missing is not None
        start, stop = missing.start, missing.end
        assert missing.stage == "frontend" and stop <= end and start % STRIDE == 0
        fresh = frontend(cache.normalized(sound[start:stop]))
        computed += len(fresh)
        cache.add(fresh, start // STRIDE)
        assert cache.missing(end) is None
        kept, first = cache.last(ctc_spec.frames(end), 10_000)
        assert len(kept) <= 100
        everything = frontend(cache.normalized(sound[:end]))
        np.testing.assert_allclose(kept, everything[first:], atol=1e-5)
    hops = 39
    assert frozen[:1] == ([1] if normalize else []) and len(frozen) <= 14
    assert not normalize or cache.normalized(sound).std() == pytest.approx(1, abs=0.11), "it follows the loudness"
    assert computed <= hops * 25 + 100 * (len(frozen) + 1)


@pytest.mark.parametrize("normalize", [True, False])
def test_group_norm_is_by_the_statistics_of_the_utterance_so_far(ctc_spec: ModelSpec, normalize: bool) -> None:
    """A channel's mean and spread were those of the window; now every sound is measured once and features are kept."""
    spec = replace(ctc_spec, norm="group", normalize=normalize)
    cache = FeatureCache(spec, keep=100)
    sound = np.random.default_rng(0).normal(0.01, 0.1, 20 * RATE).astype(np.float32)
    sound[: 2 * RATE] *= 0.1
    measured = computed = renewed = 0
    for end in range(RATE, len(sound) + 1, RATE // 2):
        if cache.stale(sound[:end]):
            cache.freeze(sound[:end])
            renewed += 1
        while (missing := cache.missing(end)) is not None:
            samples = sound[missing.start : missing.end]
            outputs = group_stage(missing.stage, cache.feeds(missing, samples))
            cache.take(missing.stage, missing.start, missing.end, outputs)
            assert missing.end - missing.start <= max(RATE + 10, 100 * STRIDE + FIELD)
            measured += len(samples) * (missing.stage == "statistics")
            computed += spec.frames(len(samples)) * (missing.stage == "tile")
        kept, first = cache.last(spec.frames(end), 10_000)
        whole = cache.normalized(sound[:end])
        exact = group_stage("tile", {NORMALIZED: whole[None], **group_stage("statistics", {NORMALIZED: whole[None]})})
        expected = np.asarray(exact[FEATURES][0, first : first + len(kept)], np.float32)
        allowed = 0.1 + 0.1 * np.abs(expected)  # the tenths by which mean and spread may move
        assert (np.abs(kept - expected) <= 1.1 * allowed).all()
    assert renewed <= 14 and measured <= 1.1 * len(sound) * (1 + renewed / 2)
    assert computed <= 39 * 25 + 100 * (renewed + 14)


def group_stage(stage: str, feeds: Arrays) -> Arrays:
    """A stand-in for the front end of a model with group norm: one channel, the mean of ten samples."""
    samples = np.asarray(feeds[NORMALIZED][0], np.float64)
    if stage == "statistics":
        windows = np.lib.stride_tricks.sliding_window_view(samples, 10)[::5].mean(axis=1)
        return {
            NORM_MEAN: np.full((1, 1, 1), windows.mean(), np.float32),
            NORM_MEAN_SQUARE: np.full((1, 1, 1), np.square(windows).mean(), np.float32),
        }
    mean, square = (float(feeds[name].reshape(-1)[0]) for name in (NORM_MEAN, NORM_MEAN_SQUARE))
    spread = (square - mean**2 + 1e-12) ** 0.5
    return {FEATURES: frontend(((samples - mean) / spread).astype(np.float32))[None]}


def test_padding_of_a_batch_is_not_kept(ctc_spec: ModelSpec) -> None:
    """A server joins the runs of several streams, and pads the shorter ones."""
    cache = FeatureCache(replace(ctc_spec, normalize=False), keep=100)
    outputs = {FEATURES: np.ones((1, 60, 4), np.float32)}
    cache.take("tile", 0, 24 * STRIDE + FIELD, outputs)
    assert cache.frames == 25


def test_a_jump_drops_what_no_window_needs(ctc_spec: ModelSpec) -> None:
    cache = FeatureCache(replace(ctc_spec, normalize=False), keep=100)
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    cache.add(frontend(sound[:RATE]), 0)
    missing = cache.missing(20 * RATE)
    assert missing is not None
    assert missing.end - missing.start <= 100 * STRIDE + FIELD
    cache.add(frontend(sound[missing.start : missing.end]), missing.start // STRIDE)
    kept, first = cache.last(ctc_spec.frames(20 * RATE), 10_000)
    np.testing.assert_allclose(kept, frontend(sound)[first:], atol=1e-5)


def test_models_whose_output_frames_are_others_keep_nothing(ctc_spec: ModelSpec) -> None:
    assert can_keep(ctc_spec)
    assert not can_keep(replace(ctc_spec, time=(*ctc_spec.time, Convolution(3, 2, 1))))
    assert not can_keep(replace(ctc_spec, frontend="log-mel"))
