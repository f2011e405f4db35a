"""Recordings of every kind, whole and damaged."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Encode = Callable[..., bytes]
Samples = NDArray[np.float32]


def _tones(seconds: float, rate: int) -> Samples:
    """A tone that rises every second, so that each second says which one it is: 300 Hz, 340 Hz, and so on."""
    time = np.arange(int(seconds * rate)) / rate
    frequency = 300 + 40 * np.floor(time)
    phase = 2 * math.pi * np.cumsum(frequency) / rate
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    return np.asarray(0.3 * np.sin(phase) + noise, dtype=np.float32)


@pytest.fixture(scope="session")
def tones() -> Callable[[float, int], Samples]:
    """Tones of so many seconds at a rate; each second has its own."""
    return _tones


@pytest.fixture(scope="session")
def encode() -> Encode:
    """A file of ``seconds`` of tones, as bytes."""

    def write(
        form: str, subtype: str | None = None, rate: int = 16000, seconds: float = 12.0, channels: int = 1
    ) -> bytes:
        file = io.BytesIO()
        samples = np.repeat(_tones(seconds, rate)[:, None], channels, axis=1)
        soundfile.write(file, samples, rate, format=form, subtype=subtype)
        return file.getvalue()

    return write


@pytest.fixture(scope="session")
def second_of() -> Callable[[Samples, float], int]:
    """Which second of the tones a place in samples at 16 kHz comes from; -1 for silence."""

    def find(samples: Any, seconds: float) -> int:
        part = samples[int(seconds * 16000) :][:3200]
        if len(part) < 3200 or np.abs(part).max() < 0.05:
            return -1
        peak = np.abs(np.fft.rfft(part * np.hanning(3200))).argmax() * 5
        return round((float(peak) - 300) / 40)

    return find
