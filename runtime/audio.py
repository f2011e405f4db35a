"""Recordings in, float32 mono samples out: any format that soundfile reads, any rate, any number of channels."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import AudioError

Samples = NDArray[np.float32]


def load(source: str | Path | BinaryIO, sample_rate: int = 16000) -> Samples:
    """Read a whole recording as float32 [samples] in [-1, 1] at ``sample_rate`` Hz, channels averaged.

    Raises AudioError when it is missing, empty, not audio, or holds NaN.
    """
    import soundfile

    name = source if isinstance(source, (str, Path)) else getattr(source, "name", "the stream")
    if isinstance(source, (str, Path)):
        check_file(Path(source))
    try:
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{name}: not a recording that can be read ({_reason(error)})") from error
    return prepare(samples, rate, sample_rate, str(name))


def check_file(path: Path) -> None:
    """Raise AudioError, saying why, when a path is no readable non-empty file."""
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.is_dir():
        raise AudioError(f"{path}: is a directory; name its files")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")


def prepare(samples: NDArray[np.float32], rate: int, sample_rate: int, name: str = "the samples") -> Samples:
    """Samples [samples] or [samples, channels] at ``rate`` Hz as mono float32 at ``sample_rate`` Hz.

    Raises AudioError for no samples, NaN or Inf.
    """
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim == 2:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if samples.ndim != 1:
        raise AudioError(f"{name}: samples must be [samples] or [samples, channels]")
    if len(samples) == 0:
        raise AudioError(f"{name}: it holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: it holds NaN or infinite samples; record or convert it again")
    if rate != sample_rate:
        import soxr

        samples = soxr.resample(samples, rate, sample_rate)
    return np.ascontiguousarray(samples, dtype=np.float32)


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[-1].rstrip(".") if text else type(error).__name__


def media_available() -> bool:
    """Whether the extra [media] (PyAV) is installed."""
    return importlib.util.find_spec("av") is not None
