"""M4A, WebM, video: recordings that soundfile does not read, decoded by PyAV (FFmpeg's libraries; extra [media])."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AudioError
from .arrays import checked_rate
from .source import Source, Stretch, View
from .tracks import Piece, Track

SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mka", ".avi", ".aac", ".wma", ".ac3", ".amr"}
)
"""Names that tell a user who lacks PyAV that it is PyAV that is missing."""

INSTALL = 'pip install "wav2edge[media]"'


def available() -> bool:
    """Whether the extra [media] (PyAV) is installed."""
    return importlib.util.find_spec("av") is not None


def open_track(source: Source, why: str) -> Track:
    """The first audio track of a file; why: what soundfile said about it.

    Raises AudioError where it is not a medium or has no sound, and where PyAV is missing and the name says that it is
    needed.
    """
    name = source.name
    if not available():
        remedy = f"; reading it needs PyAV: `{INSTALL}`" if Path(name).suffix.lower() in SUFFIXES else ""
        raise AudioError(f"{name}: not a recording that can be read ({why}){remedy}")
    import av

    with source.opened() as view, _opened(view, source, why) as container:
        stream = container.streams.audio[0]
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        if seconds is None and container.duration:
            seconds = container.duration / av.time_base
        return Track(
            checked_rate(stream.rate, name),
            stream.channels,
            seconds,
            lambda problems: _pieces(source, why),
        )


@contextlib.contextmanager
def _opened(view: View, source: Source, why: str) -> Iterator[Any]:
    import av

    try:
        container = av.open(Stretch(view, 0, source.size), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{source.name}: not a recording that can be read ({why})") from error
    with container:
        if not container.streams.audio:
            raise AudioError(f"{source.name}: it has no sound track")
        yield container


def _pieces(source: Source, why: str) -> Iterator[Piece]:
    import av

    planar = av.AudioResampler(format="fltp")  # the sample format alone: layout and rate stay
    with source.opened() as view, _opened(view, source, why) as container:
        stream = container.streams.audio[0]
        try:
            for frame in container.decode(stream):
                for part in planar.resample(frame):
                    yield Piece(part.sample_rate, np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32))
            for part in planar.resample(None):
                yield Piece(part.sample_rate, np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32))
        except av.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise AudioError(
                f"{source.name}: it cannot be decoded to its end ({reason}); copy or convert it again"
            ) from error
