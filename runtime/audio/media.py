"""M4A, WebM, video: recordings that soundfile does not read, decoded by PyAV (FFmpeg's libraries; extra [media])."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mka", ".avi", ".aac", ".wma", ".ac3", ".amr"}
)
"""Names that tell a user who lacks PyAV that it is PyAV that is missing."""

INSTALL = 'pip install "wav2edge[media]"'


@dataclass(frozen=True)
class Decoded:
    """A decoded audio track: Hz, announced seconds (None where unknown), and pieces float32 [samples, channels]."""

    rate: int
    seconds: float | None
    pieces: Iterator[NDArray[np.float32]]


def available() -> bool:
    """Whether the extra [media] (PyAV) is installed."""
    return importlib.util.find_spec("av") is not None


def decode(source: str | Any, name: str, why: str) -> Decoded:
    """Open the first audio track of a file's name or of an open binary file.

    why: what soundfile said about it. Raises AudioError where it is no medium or has no sound, and where PyAV is
    missing and the name says that it is needed.
    """
    if not available():
        remedy = f"; reading it needs PyAV: `{INSTALL}`" if Path(name).suffix.lower() in SUFFIXES else ""
        raise AudioError(f"{name}: not a recording that can be read ({why}){remedy}")
    import av

    try:
        container = av.open(source, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{name}: not a recording that can be read ({why})") from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f"{name}: it has no sound track")
    stream = container.streams.audio[0]
    seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if seconds is None and container.duration:
        seconds = container.duration / av.time_base
    return Decoded(int(stream.rate), seconds, _pieces(container, stream, name))


def _pieces(container: Any, stream: Any, name: str) -> Iterator[NDArray[np.float32]]:
    import av

    planar = av.AudioResampler(format="fltp")  # the sample format alone: layout and rate stay
    with container:
        try:
            for frame in container.decode(stream):
                for part in planar.resample(frame):
                    yield np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32)
            for part in planar.resample(None):
                yield np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32)
        except av.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise AudioError(f"{name}: it cannot be decoded to its end ({reason}); copy or convert it again") from error
