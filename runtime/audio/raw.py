"""Samples without a header: what telephony and ``ffmpeg -f s16le -`` write. Their rate and form must be given."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .arrays import MOST_CHANNELS, checked_rate

Encoding = Literal["s16le", "f32le", "mulaw", "alaw"]
"""16-bit integers and 32-bit floats, little-endian; the two codes of telephony (ITU-T G.711), 8 bits a sample."""

_WIDTHS = {"s16le": 2, "f32le": 4, "mulaw": 1, "alaw": 1}


@dataclass(frozen=True)
class RawFormat:
    """What a file without a header holds."""

    encoding: Encoding = "s16le"
    """How a sample is written."""

    rate: int = 16_000
    """Samples per second and channel, in Hz."""

    channels: int = 1
    """Channels, interleaved."""

    def __post_init__(self) -> None:
        """Raises AudioError for an unknown encoding, a rate out of bounds, or no channels."""
        if self.encoding not in get_args(Encoding):
            raise AudioError(f"no raw encoding {self.encoding!r}; there are {', '.join(get_args(Encoding))}")
        checked_rate(self.rate, "raw samples")
        if (
            not isinstance(self.channels, int)
            or isinstance(self.channels, bool)
            or not 1 <= self.channels <= MOST_CHANNELS
        ):
            raise AudioError(f"raw samples of {self.channels!r} channels; there can be 1 to {MOST_CHANNELS}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return _WIDTHS[self.encoding] * self.channels

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Bytes as float32 [samples, channels] in [-1, 1]; an incomplete frame at the end is left out."""
        whole = data[: len(data) // self.frame_bytes * self.frame_bytes]
        if self.encoding == "s16le":
            values = np.frombuffer(whole, "<i2").astype(np.float32) / np.float32(32768)
        elif self.encoding == "f32le":
            values = np.frombuffer(whole, "<f4").astype(np.float32)
        else:
            values = (_mulaw() if self.encoding == "mulaw" else _alaw())[np.frombuffer(whole, np.uint8)]
        return cast("NDArray[np.float32]", values.reshape(-1, self.channels))


@functools.cache
def _mulaw() -> NDArray[np.float32]:
    codes = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (codes >> 4 & 7).astype(np.int32), (codes & 15).astype(np.int32)
    values = ((2 * mantissa + 33) << exponent + 2) - 132
    return np.asarray(np.where(codes & 128, -values, values) / 32768, dtype=np.float32)


@functools.cache
def _alaw() -> NDArray[np.float32]:
    codes = np.arange(256, dtype=np.uint8) ^ np.uint8(0x55)
    exponent, mantissa = (codes >> 4 & 7).astype(np.int32), (codes & 15).astype(np.int32)
    values = (2 * mantissa + np.where(exponent > 0, 33, 1)) << np.maximum(exponent, 1) + 2
    return np.asarray(np.where(codes & 128, values, -values) / 32768, dtype=np.float32)
