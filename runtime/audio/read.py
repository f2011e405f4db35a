"""Recordings in, float32 mono samples out: any format that soundfile reads, any rate, any number of channels.

A recording is read as a stream, so that memory does not grow with its length. What soundfile cannot read (M4A, WebM,
video) goes through media.py, which needs the extra [media].
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import media

Samples = NDArray[np.float32]

BLOCK_SECONDS = 5.0
"""How much is decoded at a time."""

_BREAKS_OFF = 0.5
"""Seconds that may be missing from what a header announces: MP3 and Ogg headers are not exact to the sample."""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class Recording:
    """An opened recording; iterate ``blocks`` once, to the end or not.

    name: for messages. seconds: its length as its header announces it, None where it does not.
    blocks: mono float32 [samples] in [-1, 1] at the rate asked for, none of them empty.
    """

    name: str
    seconds: float | None
    blocks: Iterator[Samples]


def open_recording(source: str | Path | BinaryIO, sample_rate: int = 16000) -> Recording:
    """Open a recording (a file's name, or a binary stream such as standard input) to be read block by block.

    Channels are averaged; another rate is resampled to ``sample_rate`` Hz. Raises AudioError when it is missing,
    empty or not audio; its blocks raise AudioError when it turns out to break off, to hold NaN or no samples.
    """
    name = str(source) if isinstance(source, (str, Path)) else str(getattr(source, "name", "the stream"))
    if name == "<stdin>":
        name = "standard input"
    handle = _seekable(source, name)
    rate, seconds, pieces = _decode(handle, name)
    return Recording(name, seconds, _stream(pieces, rate, sample_rate, name))


def load(source: str | Path | BinaryIO, sample_rate: int = 16000) -> Samples:
    """Read a whole recording as float32 [samples] in [-1, 1] at ``sample_rate`` Hz, channels averaged.

    Raises AudioError when it is missing, empty, not audio, breaks off, or holds NaN.
    """
    return np.concatenate(list(open_recording(source, sample_rate).blocks))


def check_file(path: Path) -> None:
    """Raise AudioError, saying why, when a path is no readable non-empty file."""
    if _URL.match(str(path)) or re.match(r"https?:/", str(path)):
        raise AudioError(f"{path}: URLs are not fetched; download it and name the file")
    try:
        status = path.stat()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a directory; name its files")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise AudioError(f"{path}: the file is empty")


def prepare(samples: NDArray[np.float32], rate: int, sample_rate: int, name: str = "the samples") -> Samples:
    """Samples [samples] or [samples, channels] at ``rate`` Hz as mono float32 at ``sample_rate`` Hz.

    Raises AudioError for no samples, NaN or Inf.
    """
    samples = _mono(np.asarray(samples, dtype=np.float32), name)
    if len(samples) == 0:
        raise AudioError(f"{name}: it holds no samples")
    _check_finite(samples, name)
    if rate != sample_rate:
        import soxr

        samples = soxr.resample(samples, rate, sample_rate)
    return np.ascontiguousarray(samples, dtype=np.float32)


def _seekable(source: str | Path | BinaryIO, name: str) -> str | Any:
    """A file's name or an open file that can seek; a pipe is copied to an unnamed temporary file on the disk first."""
    if isinstance(source, (str, Path)):
        if isinstance(source, str) and _URL.match(source):
            raise AudioError(f"{source}: URLs are not fetched; download it and name the file")
        path = Path(source)
        check_file(path)
        try:
            with path.open("rb") as file:
                return str(path) if file.seekable() else _spooled(file, name)
        except OSError as error:
            raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error
    return source if source.seekable() else _spooled(source, name)


def _spooled(stream: BinaryIO, name: str) -> BinaryIO:
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - the decoder closes it
    shutil.copyfileobj(stream, spool)
    if spool.tell() == 0:
        spool.close()
        raise AudioError(f"{name}: it holds no data")
    spool.seek(0)
    return cast(BinaryIO, spool)


def _decode(handle: str | Any, name: str) -> tuple[int, float | None, Iterator[NDArray[np.float32]]]:
    """The rate, the announced seconds, and a recording's samples piece by piece as [samples, channels]."""
    import soundfile

    try:
        # As bytes a path may hold what is no UTF-8.
        file = soundfile.SoundFile(os.fsencode(handle) if isinstance(handle, str) else handle)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, OSError) as error:
        if not isinstance(handle, str):
            handle.seek(0)
        decoded = media.decode(handle, name, why=_reason(error))
        return decoded.rate, decoded.seconds, decoded.pieces
    frames: int | None = file.frames if file.frames < 1 << 62 else None
    seconds = frames / file.samplerate if frames is not None else None
    return file.samplerate, seconds, _pieces(file, name, frames)


def _pieces(file: Any, name: str, frames: int | None) -> Iterator[NDArray[np.float32]]:
    import soundfile

    read = 0
    with file:
        while True:
            failed = None
            try:
                piece = file.read(int(BLOCK_SECONDS * file.samplerate), dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
                failed, piece = error, np.zeros((0, 1), np.float32)
            read += len(piece)
            if len(piece) == 0:
                break
            yield piece
        missing = frames - read if frames is not None else 0
        if failed is not None or missing > _BREAKS_OFF * file.samplerate:
            whole = f" of {frames / file.samplerate:.1f} s" if frames is not None else ""
            raise AudioError(
                f"{name}: it breaks off after {read / file.samplerate:.1f} s{whole}; copy or convert it again"
            ) from failed


def _stream(pieces: Iterator[NDArray[np.float32]], rate: int, sample_rate: int, name: str) -> Iterator[Samples]:
    resampler = None
    if rate != sample_rate:
        import soxr

        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    empty = True
    for piece in pieces:
        block = _mono(piece, name)
        _check_finite(block, name)
        empty = empty and len(block) == 0
        if resampler is not None:
            block = resampler.resample_chunk(block)
        if len(block):
            yield np.ascontiguousarray(block, dtype=np.float32)
    if empty:
        raise AudioError(f"{name}: it holds no samples")
    if resampler is not None and len(rest := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield rest


def _mono(samples: NDArray[np.float32], name: str) -> Samples:
    if samples.ndim == 2:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    if samples.ndim != 1:
        raise AudioError(f"{name}: samples must be [samples] or [samples, channels]")
    return samples


def _check_finite(samples: Samples, name: str) -> None:
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: it holds NaN or infinite samples; record or convert it again")


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "error_string", error)).strip().splitlines()  # libsndfile's words, without the name
    return text[-1].rstrip(".") if text else type(error).__name__
