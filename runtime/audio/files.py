"""Files of sound: which container it is, and how it is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import media
from .arrays import checked_rate
from .raw import RawFormat
from .source import Source, Stretch, View
from .tracks import Piece, Problems, Track

BLOCK_SECONDS = 5.0
"""How much is decoded at a time."""

BREAKS_OFF = 0.5
"""Seconds that may be missing from what a header announces: MP3 and Ogg headers are not exact to the sample."""

_HEADERS = (
    (b"RIFF", "a RIFF (WAV) file"),
    (b"RIFX", "a RIFX (WAV) file"),
    (b"RF64", "an RF64 (WAV) file"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"FORM", "an AIFF file"),
    (b"ID3", "an MP3 file"),
    (b"caff", "a CAF file"),
    (b".snd", "an AU file"),
    (b"\x1a\x45\xdf\xa3", "a Matroska (WebM) file"),
    (b"riff\x2e\x91\xcf\x11", "a W64 file"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an ASF (WMA) file"),
    (b"#!AMR", "an AMR file"),
)


def container_of(head: bytes) -> str | None:
    """What file it is that begins with these bytes (12 are enough), in words; None where nothing says so.

    Only signatures that samples do not show by chance count, so an MP3 without an ID3 tag is not recognised.
    """
    if head[4:8] == b"ftyp":
        return "an MP4 (M4A) file"
    return next((words for signature, words in _HEADERS if head.startswith(signature)), None)


def open_track(source: Source) -> Track:
    """A file's sound; raises AudioError where it is not a recording that can be decoded."""
    with source.opened() as view:
        try:
            with _sound_file(view, source) as file:
                rate, channels = file.samplerate, file.channels
                frames: int | None = file.frames if file.frames < 1 << 62 else None
        except _unreadable() as error:
            reason = _reason(error)
        else:
            checked_rate(rate, source.name)
            seconds = frames / rate if frames is not None else None
            return Track(rate, channels, seconds, lambda problems: _pieces(source, problems))
    return media.open_track(source, why=reason)


def raw_track(source: Source, raw: RawFormat) -> Track:
    """Samples without a header; raises AudioError where there is one."""
    with source.opened() as view:
        if container := container_of(view.at(0, 12)):
            raise AudioError(f"{source.name}: it is {container}, with a header of its own; leave the raw format out")

    def pieces(problems: Problems) -> Iterator[Piece]:
        size = int(BLOCK_SECONDS * raw.rate) * raw.frame_bytes
        with source.opened() as view:
            for start in range(0, view.size, size):
                yield Piece(raw.rate, raw.decode(view.at(start, size)))

    return Track(raw.rate, raw.channels, source.size // raw.frame_bytes / raw.rate, pieces)


def _sound_file(view: View, source: Source) -> Any:
    import soundfile

    return soundfile.SoundFile(Stretch(view, 0, source.size))


def _unreadable() -> tuple[type[Exception], ...]:
    import soundfile

    return soundfile.LibsndfileError, RuntimeError, TypeError, OSError


def _pieces(source: Source, problems: Problems) -> Iterator[Piece]:
    read = 0
    with source.opened() as view, _sound_file(view, source) as file:
        rate = file.samplerate
        frames: int | None = file.frames if file.frames < 1 << 62 else None
        failed = False
        while not failed:
            samples, failed = _block(file)
            read += len(samples)
            if len(samples) == 0:
                break
            yield Piece(rate, samples)
        missing = frames - read if frames is not None else 0
        if failed or missing > BREAKS_OFF * rate:
            whole = f" of {frames / rate:.1f} s" if frames is not None else ""
            problems.lost(f"it breaks off after {read / rate:.1f} s{whole}; copy or convert it again")


def _block(file: Any) -> tuple[NDArray[np.float32], bool]:
    """The next samples [samples, channels], and whether decoding failed after them.

    libsndfile reports a failure without the number of samples that came before it, so they are told by their values.
    """
    out = np.full((int(BLOCK_SECONDS * file.samplerate), file.channels), np.nan, dtype=np.float32)
    try:
        return file.read(out=out), False
    except _unreadable():
        missing = np.flatnonzero(np.isnan(out[:, 0]))
        return out[: int(missing[0]) if len(missing) else len(out)], True


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "error_string", error)).strip().splitlines()  # libsndfile's words, without the name
    return text[-1].rstrip(".") if text else type(error).__name__
