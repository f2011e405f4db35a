"""Histograms that grow, and what each method makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from wav2edge.calibration.ranges import BINS, METHODS, Histogram, Method, choose_range
from wav2edge.runtime.errors import GateRefused, InputError


def histogram(*parts: np.ndarray) -> Histogram:
    seen = Histogram()
    for part in parts:
        seen.add("tensor", part.astype(np.float32))
    return seen


def test_growing_loses_no_value() -> None:
    random = np.random.default_rng(0)
    small, large = random.normal(0, 0.1, 5000), random.normal(0, 30, 5000)
    seen = histogram(small, large)
    assert seen.counts.sum() == 10000
    assert seen.limit >= np.abs(large).max() and np.log2(seen.limit) % 1 == 0
    whole = histogram(np.concatenate([large, small]))
    assert np.abs(np.cumsum(seen.counts) - np.cumsum(whole.counts)).max() <= 2
    assert (seen.low, seen.high) == (float(np.float32(large.min())), float(np.float32(large.max())))


def test_memory_does_not_grow_with_the_clips() -> None:
    seen = Histogram()
    for seed in range(50):
        seen.add("tensor", np.random.default_rng(seed).normal(0, 1, 10000).astype(np.float32))
    assert seen.counts.nbytes == 2 * BINS * 8 and seen.elements == 500000


def test_large_tensors_are_sampled_and_their_extremes_are_not() -> None:
    values = np.zeros(1 << 20, np.float32)
    values[12345] = 7.0
    seen = histogram(values)
    assert seen.high == 7.0 and seen.counts.sum() == pytest.approx(1 << 20, rel=1e-3)


@pytest.mark.parametrize("channel", [300, 301, 302])
def test_sampling_meets_every_channel(channel: int) -> None:
    """Every third value of 768 channels is always of the same channels: an outlier in another was clipped tenfold."""
    values = np.random.default_rng(0).normal(0, 1, (1, 499, 768)).astype(np.float32)
    values[..., channel] += 40.0
    seen = Histogram()
    seen.add("activation", values)
    assert choose_range(seen, "mse", unsigned=False)[1] > 35.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_refuse(value: float) -> None:
    with pytest.raises(GateRefused, match="NaN or infinite"):
        histogram(np.array([0.0, value]))


@pytest.mark.parametrize("unsigned", [True, False])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "min-max"])
def test_one_outlier_does_not_rule_the_range(method: Method, unsigned: bool) -> None:
    values = np.random.default_rng(2).normal(0, 1, 100_000)
    values[0] = 100.0
    low, high = choose_range(histogram(values), method, unsigned)
    assert 2.0 < high < 100.0 and low > -100.0
    assert choose_range(histogram(values), "min-max", unsigned)[1] == 100.0


def test_mean_squared_error_is_the_least_of_all() -> None:
    values = np.random.default_rng(3).laplace(0, 1, 100_000)
    seen = histogram(values)

    def error(method: Method) -> float:
        low, high = choose_range(seen, method, True)
        step = (high - low) / 255
        return float(np.square(values - (np.clip(np.rint((values - low) / step), 0, 255) * step + low)).mean())

    assert error("mse") <= 1.02 * min(error(method) for method in METHODS)


def test_nothing_to_clip_is_not_clipped() -> None:
    values = np.random.default_rng(4).uniform(0, 1, 100_000)
    low, high = choose_range(histogram(values), "mse", True)
    assert low <= 0.01 and high > 0.97


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="min-max, entropy, percentile, mse"):
        choose_range(histogram(np.ones(4)), "magic", True)  # type: ignore[arg-type]
