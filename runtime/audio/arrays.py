"""Samples that a program holds: numpy arrays, torch tensors, lists, and what libraries of data sets give.

Every number type has one meaning. Integers are scaled by their type (int16 32767 is almost 1.0, uint8 128 is 0.0), and
floats must already be in [-1, 1]. What could mean two things is refused: an array's axes by their sizes alone
(``[channels, samples]`` or ``[samples, channels]``), and integers of a type that says nothing about their scale.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

LOWEST_RATE = 1_000
"""Hz. At 1 Hz a file of a few kB would be hours of sound; speech needs 8 000."""

HIGHEST_RATE = 1_000_000
"""Hz. The fastest converters for sound run at 768 000."""

MOST_CHANNELS = 32
"""An axis up to this size may be the channels; no recorder for speech has more."""

LOUDEST = 16.0
"""The largest float taken: 24 dB above full scale. Beyond it are integers that were converted without scaling."""

_SCALES = {"int8": 7, "int16": 15, "int32": 31, "uint8": 7, "uint16": 15}


@runtime_checkable
class SupportsArray(Protocol):
    """What numpy can make an array of: numpy's own, a torch tensor, a jax array, a pandas column."""

    def __array__(self) -> NDArray[np.generic]:
        """The values as a numpy array."""


def checked_rate(rate: object, name: str) -> int:
    """A sample rate in Hz as an int; raises AudioError for what is not a whole number from 1 000 to 1 000 000."""
    whole = isinstance(rate, numbers.Integral) and not isinstance(rate, bool)
    if not whole and not (isinstance(rate, (float, np.floating)) and float(rate).is_integer()):
        raise AudioError(f"{name}: the sample rate must be a whole number of Hz, it is {_shown(rate)}")
    number = int(cast(int, rate))
    if not LOWEST_RATE <= number <= HIGHEST_RATE:
        raise AudioError(
            f"{name}: a sample rate of {_shown(rate)} Hz; it must be from {LOWEST_RATE} Hz to {HIGHEST_RATE} Hz"
        )
    return number


@dataclass
class Orientation:
    """Which axis of a stream's blocks is that of the channels, from its first block that can be only one way."""

    channels: int | None = None


def samples_of(
    values: SupportsArray | Iterable[object], name: str, orientation: Orientation | None = None
) -> NDArray[np.float32]:
    """An array or list as float32 [samples, channels] in [-1, 1].

    orientation: of the stream that it is a block of; it is kept there. A block of few samples then needs none.
    Raises AudioError, naming what is accepted, for other shapes, number types and scales, for NaN and infinite values,
    and for no samples.
    """
    array = _scaled(_array(values, name), name)
    if array.size == 0:
        raise AudioError(f"{name}: it holds no samples")
    return _oriented(checked_samples(array, name), name, orientation or Orientation())


def checked_samples(samples: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Samples as they are; raises AudioError for NaN, infinite values, and floats that are unscaled integers."""
    peak = float(np.maximum(samples.max(initial=0.0), -samples.min(initial=0.0)))  # ``np.abs`` would copy all of them
    if not np.isfinite(peak):
        raise AudioError(f"{name}: it holds NaN or infinite samples; record or convert it again")
    if peak > LOUDEST:
        raise AudioError(
            f"{name}: floating-point samples up to {peak:g}; they must be in [-1, 1], and integers keep their type "
            "(int16, int32, uint8)"
        )
    return samples


def _array(values: object, name: str) -> NDArray[np.generic]:
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a torch tensor, perhaps on a GPU and with gradients
        values = values.detach().cpu()
    if np.ma.is_masked(values):
        raise AudioError(f"{name}: some of its samples are masked; fill them (numpy.ma.filled) or leave them out")
    try:
        return np.asarray(values)
    except Exception as error:  # whatever a foreign __array__ raises
        raise AudioError(
            f"{name}: cannot be taken as an array ({(str(error).splitlines() or [type(error).__name__])[0]})"
        ) from error


def _scaled(array: NDArray[np.generic], name: str) -> NDArray[np.float32]:
    kind = array.dtype
    if kind.kind == "f":
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is refused as such
            return np.asarray(array, dtype=np.float32)
    if array.size == 0:
        raise AudioError(f"{name}: it holds no samples")
    bits = _SCALES.get(kind.newbyteorder("=").name)
    if bits is None:
        raise AudioError(
            f"{name}: samples of type {kind.name} have no known scale; give int16, int32, uint8, or floats in [-1, 1]"
        )
    # In place, since hours of sound have hundreds of MB; a power of two changes no digit, so float32 is exact enough.
    scaled = array.astype(np.float32)
    if kind.kind == "u":
        scaled -= np.float32(1 << bits)
    scaled /= np.float32(1 << bits)
    return scaled


def _oriented(array: NDArray[np.float32], name: str, orientation: Orientation) -> NDArray[np.float32]:
    """[samples], [samples, channels] or [channels, samples] as [samples, channels]."""
    if array.ndim == 1:
        return array[:, None]
    if array.ndim != 2:
        raise AudioError(
            f"{name}: an array of shape {list(array.shape)}; it must be [samples], [samples, channels] or "
            "[channels, samples]"
        )
    rows, columns = array.shape
    if columns == 1 or rows > MOST_CHANNELS >= columns:
        orientation.channels = 1
    elif rows == 1 or columns > MOST_CHANNELS >= rows:
        orientation.channels = 0
    if orientation.channels is not None and array.shape[orientation.channels] <= MOST_CHANNELS:
        return array if orientation.channels == 1 else np.ascontiguousarray(array.T)
    few = "both could be the channels" if rows <= MOST_CHANNELS else f"more than {MOST_CHANNELS} channels either way"
    raise AudioError(f"{name}: an array of shape [{rows}, {columns}]: {few}; give one channel as [samples]")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)[:40]
