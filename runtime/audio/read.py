"""Recordings in, float32 mono samples out: files, bytes and samples that a program holds, any rate, any channels.

A recording is read as a stream, so that memory does not grow with its length. What soundfile cannot read (M4A, WebM,
video) goes through media.py, which needs the extra [media].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from . import files
from .arrays import SupportsArray, checked_rate, samples_of
from .channels import Channel, ChannelComparison, averaged, checked_channel, index_of
from .files import BLOCK_SECONDS
from .named import check_file
from .parts import RecordingPart, checked, track_of
from .raw import RawFormat
from .source import name_of, open_source
from .tracks import Piece, Problems, Track

__all__ = [
    "BLOCK_SECONDS",
    "AudioSource",
    "Channel",
    "RawFormat",
    "Recording",
    "RecordingPart",
    "Samples",
    "check_file",
    "load",
    "open_channels",
    "open_recording",
    "prepare",
    "whole_blocks",
]

Samples = NDArray[np.float32]

AudioSource = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | SupportsArray
    | Iterable[float]
    | Mapping[str, object]
    | RecordingPart
)
"""A file's name; a file's bytes; an open binary file; samples as an array, a tensor or a list; a row of a data set with
``array`` and ``sampling_rate``; or a part of a file."""

_LARGEST = 1e12
"""Larger values mean that the bytes are not floating-point samples (integers of 32 bits go to 2e9); resampling them
overflows."""
_SPIKE = 500.0
_ACCEPTED = (
    "give a file's name, its bytes, an open binary file, or samples as an array or list of [samples], "
    "[samples, channels] or [channels, samples]"
)


@dataclass(frozen=True)
class Recording:
    """An opened recording; iterate ``blocks`` once, to the end or not."""

    name: str
    """For messages."""

    seconds: float | None
    """Its length as its header announces it, None where it does not."""

    blocks: Iterator[Samples]
    """Mono float32 [samples] in [-1, 1] at the rate asked for, none of them empty."""

    again: Callable[[], Iterator[Samples]]
    """Gives the same blocks anew, from the beginning."""

    channels: int = 1
    """How many channels it has."""

    channel: Channel = "mix"
    """Which of them ``blocks`` holds."""

    offset: float | None = None
    """Where it begins in its file, s, where it is a part of it; None for the whole."""

    problems: Problems = field(default_factory=Problems)
    """What went wrong; it grows while ``blocks`` are read."""

    @property
    def complete(self) -> bool:
        """Whether nothing was missing, as far as ``blocks`` were read."""
        return self.problems.complete

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is missing or doubtful, as far as ``blocks`` were read; lines without the recording's name."""
        return tuple(self.problems.lines)


def open_recording(
    source: AudioSource,
    rate: int = 16000,
    *,
    sample_rate: int | None = None,
    channel: Channel = "mix",
    raw: RawFormat | None = None,
) -> Recording:
    """Open a recording to be read block by block, as mono samples at ``rate`` Hz.

    source: a file's name or bytes, an open binary file such as standard input, or samples [samples],
    [samples, channels] or [channels, samples]: integers are scaled by their type, floats are in [-1, 1]. Of a
    RecordingPart nothing else is read where the decoder can go there: WAV, FLAC and the like.
    sample_rate: Hz of samples or of a raw format, ``rate`` where it is omitted; a file's own rate must not contradict
    it. channel: what is taken of several channels: their average (mix), left, right, a number from 1 on, or the loudest
    of the whole recording. raw: how samples in a file without a header are written.

    All recordings in a file are read, one after the other, and everything of them that can be decoded: what is missing
    in a damaged one, or in one that was cut short, makes it not ``complete`` and is one of its ``warnings``. So is what
    averaging its channels may lose. A hole of known length is filled with silence, so that what follows keeps its time.

    Raises AudioError, one line that names it, where it is missing, empty, not audio, or cannot be taken in one way
    only; its blocks raise AudioError where it turns out to hold NaN or no samples, or to end before a part of it.
    """
    track, name = _track(source, rate, sample_rate, raw)
    return _recording(track, name, rate, checked_channel(channel, name), _offset(source))


def open_channels(
    source: AudioSource, rate: int = 16000, *, sample_rate: int | None = None, raw: RawFormat | None = None
) -> tuple[Recording, ...]:
    """Open every channel of a recording separately, in order; the arguments are those of ``open_recording``."""
    track, name = _track(source, rate, sample_rate, raw)
    return tuple(_recording(track, name, rate, number, _offset(source)) for number in range(1, track.channels + 1))


def load(source: AudioSource, rate: int = 16000) -> Samples:
    """Read a whole recording as float32 [samples] in [-1, 1] at ``rate`` Hz, channels averaged.

    Raises AudioError as ``open_recording`` does, and where the recording is damaged or cut short.
    """
    return np.concatenate(list(whole_blocks(open_recording(source, rate))))


def whole_blocks(recording: Recording) -> Iterator[Samples]:
    """A recording's blocks; raises AudioError after them where something of it is missing."""
    yield from recording.blocks
    if not recording.complete:
        raise AudioError(f"{recording.name}: {recording.warnings[0]}")


def prepare(samples: SupportsArray, rate: int, sample_rate: int, name: str = "the samples") -> Samples:
    """Samples at ``rate`` Hz as mono float32 [samples] at ``sample_rate`` Hz, channels averaged.

    Raises AudioError for no samples, NaN or Inf, and what ``open_recording`` refuses.
    """
    piece = Piece(checked_rate(rate, name), samples_of(samples, name))
    track = Track(piece.rate, piece.samples.shape[1], None, lambda problems: iter((piece,)))
    return np.concatenate(list(_stream(track, sample_rate, "mix", name, Problems())))


def _track(source: AudioSource, rate: int, sample_rate: int | None, raw: RawFormat | None) -> tuple[Track, str]:
    """A source's track and name; raises AudioError where its rate contradicts ``sample_rate``."""
    if isinstance(source, RecordingPart):
        part = checked(source)
        return track_of(_track(part.path, rate, sample_rate, raw)[0], part), str(part)
    if isinstance(source, Mapping):
        source, sample_rate = _row(source, sample_rate)
    if not _is_bytes(source):
        return _samples_track(source, rate, sample_rate, raw)
    name = name_of(source)
    if sample_rate is not None:
        sample_rate = checked_rate(sample_rate, name)
    opened = open_source(cast("str | bytes | BinaryIO", source))
    track = files.raw_track(opened, raw) if raw is not None else files.open_track(opened)
    if sample_rate not in (None, track.rate):
        whose = "the raw format" if raw is not None else "the file"
        raise AudioError(f"{name}: sample_rate is {sample_rate} Hz and {whose} says {track.rate} Hz; leave one out")
    return track, name


def _offset(source: AudioSource) -> float | None:
    return source.offset if isinstance(source, RecordingPart) else None


def _is_bytes(source: object) -> bool:
    """Whether it is a name, bytes or an open file, and not samples."""
    return isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)) or callable(
        getattr(source, "read", None)
    )


def _samples_track(source: object, rate: int, sample_rate: int | None, raw: RawFormat | None) -> tuple[Track, str]:
    name = "the samples"
    if not isinstance(source, (SupportsArray, Iterable)):
        raise AudioError(f"{name}: of type {type(source).__name__}; {_ACCEPTED}")
    if raw is not None:
        raise AudioError(f"{name}: an array has no raw format; give bytes, or leave it out")
    own, samples = checked_rate(rate if sample_rate is None else sample_rate, name), samples_of(source, name)
    length = max(1, round(BLOCK_SECONDS * own))

    def pieces(problems: Problems) -> Iterator[Piece]:
        """Parts of the array as short as a file's blocks: what is done with one copies it."""
        for at in range(0, max(1, len(samples)), length):
            yield Piece(own, samples[at : at + length])

    return Track(own, samples.shape[1], len(samples) / own, pieces), name


def _row(row: Mapping[str, object], sample_rate: int | None) -> tuple[AudioSource, int | None]:
    """The audio of a row of a data set (Hugging Face's Audio feature), and the rate that it or the caller states."""
    name = "the samples"
    source = next((row[key] for key in ("array", "bytes", "path") if row.get(key) is not None), None)
    if source is None or isinstance(source, Mapping):
        raise AudioError(f"{name}: a mapping without `array`, `bytes` or `path`; {_ACCEPTED}")
    own = row.get("sampling_rate")
    if own is None:
        return cast(AudioSource, source), sample_rate
    own = checked_rate(own, name)
    if sample_rate is not None and checked_rate(sample_rate, name) != own:
        raise AudioError(f"{name}: sample_rate is {sample_rate} Hz and `sampling_rate` says {own} Hz; leave one out")
    return cast(AudioSource, source), own


def _recording(track: Track, name: str, rate: int, channel: Channel, offset: float | None) -> Recording:
    index_of(channel, track.channels, name)
    problems = Problems()
    return Recording(
        name,
        track.seconds,
        _stream(track, rate, channel, name, problems),
        lambda: _stream(track, rate, channel, name, Problems()),
        track.channels,
        channel,
        offset,
        problems,
    )


def _stream(track: Track, rate: int, channel: Channel, name: str, problems: Problems) -> Iterator[Samples]:
    """A track's blocks [samples] at ``rate`` Hz; raises AudioError for NaN and for no samples."""
    empty = True
    for block in _resampled(_mono(track, channel, name, problems), rate):
        empty = empty and len(block) == 0
        if len(block):
            yield np.ascontiguousarray(block, dtype=np.float32)
    if empty and not problems.complete:
        raise AudioError(f"{name}: {problems.lines[0]}")
    if empty:
        raise AudioError(f"{name}: it holds no samples")


def _resampled(pieces: Iterable[tuple[int, Samples]], rate: int) -> Iterator[Samples]:
    """Pieces of any rate [samples] as blocks of one rate."""
    resampler: _Resampler | None = None
    current = rate
    for own, samples in pieces:
        if own != current:
            if resampler is not None:
                yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            resampler, current = _resampler(own, rate), own
        yield samples if resampler is None else resampler.resample_chunk(samples)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _without_spikes(block: Samples, problems: Problems) -> Samples:
    """A block with single damaged samples as silence: one of them is louder than all speech and would hide it.

    Samples of any scale are accepted, so only a jump tells: over ``_SPIKE`` times both neighbours and full scale.
    """
    level = np.abs(block)
    if level.max(initial=0.0) < _SPIKE:
        return block
    around = np.pad(level, 1)
    spikes = level >= _SPIKE * np.maximum(1.0, np.maximum(around[:-2], around[2:]))
    if not spikes.any():
        return block
    problems.lost(
        f"some of its samples are damaged, {level[spikes].max():.3g} among small ones; copy or convert it again"
    )
    return np.where(spikes, np.float32(0), block)


class _Resampler(Protocol):
    """soxr's stream of one channel."""

    def resample_chunk(self, samples: Samples, last: bool = False) -> Samples:
        """The samples at the other rate that are settled now; all of them at the ``last`` call."""


def _resampler(own: int, rate: int) -> _Resampler | None:
    if own == rate:
        return None
    import soxr

    return cast(_Resampler, soxr.ResampleStream(own, rate, 1, dtype="float32"))


def _mono(track: Track, channel: Channel, name: str, problems: Problems) -> Iterator[tuple[int, Samples]]:
    """One channel of each piece, or their average, with the piece's rate."""
    if channel == "loudest":
        comparison = ChannelComparison()
        for piece in track.pieces(Problems()):
            comparison.add(piece.samples)
        channel = comparison.loudest() + 1
    compared, before = ChannelComparison(), track.rate
    for own, samples in track.pieces(problems):
        before = own if own == before else checked_rate(own, name)
        channels = samples.shape[1]
        if isinstance(channel, int) and channel > channels:
            problems.note(f"not all of it has a channel {channel}; the last channel of the rest was taken")
        index = (
            0
            if channels == 1
            else index_of(min(channel, channels) if isinstance(channel, int) else channel, channels, name)
        )
        if index is None:
            compared.add(samples)
            block = averaged(samples)
        else:
            block = samples[:, index]
        if not float(np.abs(block).max(initial=0.0)) <= _LARGEST:
            raise AudioError(f"{name}: it holds NaN, infinite or huge samples; record or convert it again")
        yield own, _without_spikes(block, problems)
    if warning := compared.warning():
        problems.note(warning)
