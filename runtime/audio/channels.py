"""Which channel of a recording is transcribed, and whether mixing them would lose speech.

Two microphones near one speaker record the same sound, and their average is cleaner than either. In a telephone call
with one speaker for each channel the average puts one speech over the other, and the average of channels of opposite
polarity is silence. So channels are compared while they are averaged, and a warning says when they do not fit together.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

Channel = Literal["mix", "left", "right", "loudest"] | int
"""The average of all channels, one of the first two, a channel's number from 1 on, or the one with most energy."""

ALIKE = 0.3
"""Correlation with the loudest channel below which a channel holds other sound. Two microphones in one room reach 0.5
and more, two parties of a telephone call 0.1 and less."""

AUDIBLE = 1e-4
"""Energy relative to the loudest channel (-40 dB) below which a channel counts as silent: mixing it loses nothing."""


def checked_channel(channel: object, name: str) -> Channel:
    """A choice of channel, numbers in digits included; raises AudioError for what is not one."""
    if isinstance(channel, str) and channel.isascii() and channel.isdigit():
        channel = int(channel)
    number = isinstance(channel, (int, np.integer)) and not isinstance(channel, bool) and int(channel) >= 1
    if not number and channel not in ("mix", "left", "right", "loudest"):
        raise AudioError(
            f"{name}: no channel {channel!r}; it is mix, left, right, loudest, or a channel's number from 1 on"
        )
    return cast(Channel, int(cast(int, channel)) if number else channel)


def index_of(channel: Channel, channels: int, name: str) -> int | None:
    """The column of a channel that is chosen by name or number; None for a mix, and where there is one channel alone.

    Raises AudioError for a channel that the recording does not have.
    """
    if channel in ("mix", "loudest"):
        return None
    number = {"left": 1, "right": 2}.get(channel, channel) if isinstance(channel, str) else channel
    assert isinstance(number, int)
    if number > channels and not (isinstance(channel, str) and channels == 1):
        held = "1 channel" if channels == 1 else f"{channels} channels"
        raise AudioError(f"{name}: no channel {channel}; it has {held}")
    return min(number, channels) - 1


def averaged(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The average of channels [samples, channels] as [samples]; NaN or infinite where they cannot be averaged."""
    with np.errstate(all="ignore"):  # whoever asks refuses what is not a number, in one line
        return np.asarray(samples.mean(axis=1, dtype=np.float32))


class ChannelComparison:
    """Collects, piece by piece, how a recording's channels correlate."""

    def __init__(self) -> None:
        """Begin with no samples."""
        self._products: dict[int, NDArray[np.float64]] = {}

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples [samples, channels]."""
        channels = samples.shape[1]
        if channels > 1:
            with np.errstate(all="ignore"):  # what is not a number is refused after it, in one line
                values = samples.astype(np.float64)
                products = values.T @ values
            self._products[channels] = self._products.get(channels, np.zeros((channels, channels))) + products

    def loudest(self) -> int:
        """The column with most energy so far; the first of equals."""
        energies = np.zeros(max(self._products, default=1))
        for channels, products in self._products.items():
            energies[:channels] += products.diagonal()
        return int(energies.argmax())

    def warning(self) -> str | None:
        """What an average of the channels loses, in a line; None where it loses nothing."""
        lines = [_judged(products) for _, products in sorted(self._products.items())]
        return next((line for line in lines if line is not None), None)


def _judged(products: NDArray[np.float64]) -> str | None:
    energies = products.diagonal()
    loudest = int(energies.argmax())
    others = [i for i in range(len(energies)) if i != loudest and energies[i] > AUDIBLE * energies[loudest]]
    if not others:
        return None
    correlations = [products[loudest, i] / np.sqrt(energies[loudest] * energies[i]) for i in others]
    if min(correlations) < -ALIKE:
        return (
            f"its {len(energies)} channels are of opposite polarity, and their average cancels speech; "
            "choose one channel (left, right, a number, loudest)"
        )
    if min(correlations) < ALIKE:
        return (
            f"its {len(energies)} channels hold different sound, and were averaged; "
            "choose one channel (left, right, a number, loudest), or transcribe each"
        )
    return None
