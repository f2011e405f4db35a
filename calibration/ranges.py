"""From the values of a tensor to the range that INT8 covers.

One pass, and memory that does not grow with the clips: exact extremes, and a histogram over [-limit, limit] whose limit
is a power of two and doubles, neighbours merged, when a larger value comes. Same values in the same order, same range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.errors import GateRefused, InputError

BINS = 2048
"""Bins on each side of zero: eight for each step of an 8-bit range at the limit."""
SAMPLE = 1 << 17
"""Values of a tensor that enter the histogram for each clip, evenly spread; the extremes are those of all values."""

SMALLEST_LIMIT = 2.0**-20
"""The least limit of a histogram (the power of two next to 1e-6), so that a tensor of zeros has one."""
STEPS = 255
"""Steps of an 8-bit range."""
_TINY = float(np.finfo(np.float32).tiny)
"""The width of a range that holds a single number, so that nothing is divided by zero."""

Range: TypeAlias = tuple[float, float]
"""The lowest and the highest value that INT8 covers."""
Method: TypeAlias = Literal["min-max", "entropy", "percentile", "mse"]
"""How a range is found, see the functions of the same names."""


class Histogram:
    """The values of a tensor over all clips: their extremes, and the number of values in each bin."""

    def __init__(self) -> None:
        """Start without any value."""
        self.low = 0.0
        self.high = 0.0
        self.limit = 0.0
        self.elements = 0
        self.counts: NDArray[np.int64] = np.zeros(2 * BINS, np.int64)

    def add(self, name: str, values: NDArray[np.float32]) -> None:
        """Count one clip's values; raises GateRefused for NaN or Inf."""
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise GateRefused(f"{name} holds NaN or infinite values in fp32; the model is damaged, export it again")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._grow(max(-self.low, self.high))
        self.elements += values.size
        flat = values.reshape(-1)
        step = -(-flat.size // SAMPLE)
        while math.gcd(step, values.shape[-1]) > 1:  # else it meets the same channels in every frame
            step += 1
        index = ((flat[::step] * np.float32(1 / self.limit) + 1) * BINS).astype(np.int32)
        np.clip(index, 0, 2 * BINS - 1, out=index)
        self.counts += step * np.bincount(index, minlength=2 * BINS)

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """All but the counts, for ``restore``."""
        return self.low, self.high, self.limit, float(self.elements)

    def restore(self, counts: NDArray[np.int64], numbers: Sequence[float]) -> None:
        """Become a histogram that was kept."""
        self.low, self.high, self.limit, elements = (float(number) for number in numbers)
        self.elements, self.counts = int(elements), np.array(counts, np.int64)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return np.asarray((np.arange(2 * BINS) + 0.5 - BINS) * (self.limit / BINS), dtype=np.float64)

    def _grow(self, largest: float) -> None:
        if self.limit == 0.0:
            self.limit = float(2.0 ** np.ceil(np.log2(max(largest, SMALLEST_LIMIT))))
        while largest > self.limit:
            merged = np.zeros_like(self.counts)
            merged[BINS // 2 : BINS // 2 + BINS] = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = merged
            self.limit *= 2


def min_max(histogram: Histogram, unsigned: bool) -> Range:
    """Everything between the extremes."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, unsigned: bool, share: float = 0.9999) -> Range:
    """The range that holds this share of the values, the rest cut off in equal tails.

    share: 99.99 %, the middle of the three percentiles that Wu et al. compare ("Integer quantization for deep learning
    inference", 2020).
    """
    total = np.cumsum(histogram.counts)
    tail = (1 - share) / 2 * total[-1]
    edge = histogram.limit / BINS
    low = (int(np.searchsorted(total, tail, side="right")) - BINS) * edge
    high = (int(np.searchsorted(total, total[-1] - tail)) + 1 - BINS) * edge
    return max(low, histogram.low), min(high, histogram.high)


def mean_squared_error(histogram: Histogram, unsigned: bool) -> Range:
    """The range with the least mean squared error of rounding and clipping together."""
    return _best(histogram, unsigned, _squared_error)


def entropy(histogram: Histogram, unsigned: bool) -> Range:
    """The range with the least Kullback-Leibler divergence from the tensor's values (Migacz, GTC 2017)."""
    return _best(histogram, unsigned, _divergence)


METHODS: Mapping[Method, Callable[[Histogram, bool], Range]] = {
    "min-max": min_max,
    "entropy": entropy,
    "percentile": percentile,
    "mse": mean_squared_error,
}
"""The methods by their names."""


def choose_range(histogram: Histogram, method: Method, unsigned: bool) -> Range:
    """The range of a tensor for uint8 (``unsigned``) or symmetric int8; raises InputError for an unknown method."""
    check_method(method)
    return METHODS[method](histogram, unsigned)


def check_method(method: Method) -> None:
    """Raise InputError for a method that does not exist."""
    if method not in get_args(Method):
        raise InputError(f"no calibration method {method!r}; there are {', '.join(METHODS)}")


def _best(
    histogram: Histogram,
    unsigned: bool,
    error: Callable[[NDArray[np.float64], NDArray[np.float64], float, float], float],
) -> Range:
    seen = histogram.counts > 0
    values, weights = histogram.centres[seen], histogram.counts[seen].astype(np.float64)
    if not unsigned:
        largest = max(-histogram.low, histogram.high)
        spans = [(-largest * factor, largest * factor) for factor in _FACTORS]
    else:
        spans = [(histogram.low * factor, histogram.high * factor) for factor in _FACTORS]
        # The two sides are cut separately: a GELU's negative side is short and its positive side long.
        spans += [(histogram.low, histogram.high * factor) for factor in _FACTORS]
    # Of equal errors the first is taken, the widest range: nothing is clipped without a gain.
    return min(spans, key=lambda span: error(values, weights, *span))


_FACTORS = tuple(float(factor) for factor in np.linspace(1.0, 0.1, 91))
"""The shares of the extremes that are tried as a range: a hundredth apart. The least error of the embedded model's
tensors is at 0.33 to 1, with a median of 0.79 (benchmarks/quantization_choices.py, part ``methods``)."""


def _squared_error(values: NDArray[np.float64], weights: NDArray[np.float64], low: float, high: float) -> float:
    step = max(high - low, _TINY) / STEPS
    rounded = np.clip(np.rint((values - low) / step), 0, STEPS) * step + low
    # Bins are a fraction of a step wide: the error inside one is that of its middle.
    return float((weights * np.square(values - rounded)).sum())


def _divergence(values: NDArray[np.float64], weights: NDArray[np.float64], low: float, high: float) -> float:
    inside = (values >= low) & (values <= high)
    if not inside.any():
        return float("inf")
    kept = weights[inside]
    step = max(high - low, _TINY) / STEPS
    level = np.rint((values[inside] - low) / step).astype(np.int64)
    members = np.bincount(level)
    quantized = (np.bincount(level, weights=kept) / np.maximum(members, 1))[level]
    # What is cut off is added at the ends of the true distribution, but not of the quantised one.
    true = kept.copy()
    true[0] += weights[values < low].sum()
    true[-1] += weights[values > high].sum()
    true, quantized = true / true.sum(), quantized / quantized.sum()
    return float((true * np.log(true / quantized)).sum())
