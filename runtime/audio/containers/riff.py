"""WAV (RIFF, RIFX, RF64) and AIFF (FORM): chunks with a name and a size.

1. The sound is one chunk (``data``, ``SSND``). What follows a recording may be another one, joined on.
2. A size of all ones, or near 2 or 4 GiB, where no chunk or header follows it, was written by a recorder that did not
know the size, or that had no room for it; a size of 0 with bytes after it, by a recorder that was stopped. All bytes up
to the next header, or to the end, are sound then. Where they are more than 32 bits can count, decoders get RF64.
3. A size that goes beyond the file, or beyond the next recording's header, belongs to a recording that was cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..source import Segment, View
from . import mpeg
from .part import Parsed, Part

_UNKNOWN = (range(0x7FFF_0000, 0x8001_0000), range(0xFFFF_0000, 0x1_0000_0000), range(1 << 62, 1 << 64))
"""Sizes that mean "unknown" where no sound ends there: sox, arecord and ffmpeg write such, the last ones in RF64. Other
sizes are those of long recordings: 3 GB are four hours of 48 kHz stereo in 16 bits."""

_MOST = 0xFFFF_FFFF
"""The largest number that a size of 32 bits can be."""

SLACK = 64
"""Bytes that a header may state too many: writers count it, or their padding, among the samples."""

_MOST_CHUNKS = 10_000
_FORMS = (b"WAVE", b"AIFF", b"AIFC")


@dataclass(frozen=True)
class _Sound:
    """The chunk with the sound."""

    size_at: int
    """Where its size is written."""

    start: int
    """Where its samples start."""

    size: int
    """Bytes of samples, as its header says."""

    block: int
    """Bytes of one sample of every channel."""


def parse(view: View, start: int) -> Parsed:
    """The recording that begins at ``start``."""
    big = view.at(start, 4) in (b"FORM", b"RIFX")
    sound = _sound(view, start + 12, big) if _header_at(view, start) else None
    if sound is None:
        return Parsed([], start)
    available = view.size - sound.start
    end = sound.start + sound.size
    unfinished = sound.size == 0 and available > 0 and _after_chunks(view, sound.start, big) is None
    after = None if unfinished or sound.size > available else _after(view, end, big)
    if after is not None:
        return Parsed([Part(((start, end),), announced=sound.size // sound.block)], after)
    unknown = unfinished or any(sound.size in sizes for sizes in _UNKNOWN)
    forms = (b"AIFF", b"AIFC") if view.at(start, 4) == b"FORM" else (b"WAVE",)
    following = next_header(view, sound.start, forms)
    if following is None and sound.size <= available and not unknown:  # something else follows
        return Parsed([Part(((start, end),), announced=sound.size // sound.block)], end)
    stop = view.size if following is None else following
    if unknown:
        return Parsed([_finished(view, start, sound, stop, big)], stop)
    cut = sound.size - (stop - sound.start) > SLACK
    return Parsed([Part(((start, stop),), announced=sound.size // sound.block, cut=cut)], stop)


def _sound(view: View, at: int, big: bool) -> _Sound | None:
    wide, block = None, 1
    for _ in range(_MOST_CHUNKS):
        head = view.at(at, 8)
        if len(head) < 8:
            return None
        name, size, body = head[:4], _number(head[4:], big), at + 8
        if name == b"ds64" and len(values := view.at(body, 16)) == 16:  # RF64: the sizes in 64 bits
            wide = struct.unpack("<Q", values[8:])[0]
        elif name == b"fmt " and len(values := view.at(body, 14)) == 14:
            block = max(1, struct.unpack(">H" if big else "<H", values[12:])[0])
        elif name == b"COMM" and len(values := view.at(body, 8)) == 8:
            channels, _, bits = struct.unpack(">HIH", values)
            block = max(1, channels * ((bits + 7) // 8))
        elif name == b"data":
            return _Sound(at + 4, body, size if wide is None or size != 0xFFFF_FFFF else wide, block)
        elif name == b"SSND":
            return _Sound(at + 4, body + 8, max(0, size - 8), block)
        at = body + size + (size & 1)
    return None


def _after(view: View, end: int, big: bool) -> int | None:
    """The place after what belongs to a recording whose sound ends at ``end``; None where it cannot end there."""
    found = (_after_chunks(view, at, big) for at in (end, end + 1))  # with and without a byte of padding
    return next((at for at in found if at is not None), None)


def _after_chunks(view: View, at: int, big: bool) -> int | None:
    """Where a row of chunks ends: at the end of the file or at a header; None where they are not chunks."""
    for _ in range(_MOST_CHUNKS):
        if at >= view.size - 1:
            return view.size
        if _header_at(view, at) or view.at(at, 4) in (b"OggS", b"fLaC") or mpeg.begins(view, at):
            return at
        head = view.at(at, 8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return None
        size = _number(head[4:], big)
        at += 8 + size + (size & 1)
        if at > view.size + 1:
            return None
    return None


def _header_at(view: View, at: int) -> bool:
    head = view.at(at, 12)
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM") and head[8:12] in _FORMS


def next_header(view: View, at: int, forms: Sequence[bytes], end: int | None = None) -> int | None:
    """Where the next recording begins, if one does."""
    found: list[int] = []
    for form in forms:
        place = view.find(form, at + 8, end)
        while place >= 0 and not _header_at(view, place - 8):
            place = view.find(form, place + 1, end)
        if place >= 0:
            found.append(place - 8)
    return min(found, default=None)


def _finished(view: View, start: int, sound: _Sound, stop: int, big: bool) -> Part:
    """The recording with the sizes that its recorder did not write."""

    def size(end: int, begin: int) -> bytes:
        return struct.pack(">I" if big else "<I", min(end - begin, _MOST))

    magic = view.at(start, 4)
    too_long = stop - start - 8 > _MOST
    if too_long and not big:
        return Part(_in_64_bits(view, start, sound, stop))
    segments = (
        b"RIFF" if magic == b"RF64" else magic,  # RF64 has its sizes elsewhere
        size(stop, start + 8),
        (start + 8, sound.size_at),
        size(stop, sound.size_at + 4),
        (sound.size_at + 4, stop),
    )
    # AIFF and RIFX have no sizes of 64 bits: what is beyond the last that they can state counts as missing.
    return Part(segments, announced=(stop - sound.start) // sound.block if too_long else None)


def _in_64_bits(view: View, start: int, sound: _Sound, stop: int) -> tuple[Segment, ...]:
    """A WAV file as RF64 (EBU Tech 3306), whose sizes are in its chunk ``ds64``."""
    chunks = start + 12
    if view.at(chunks, 4) == b"ds64":  # its own, without the sizes
        chunks += 8 + _number(view.at(chunks + 4, 4), False)
    samples = stop - sound.start
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, stop - start, samples, samples // sound.block, 0)
    everywhere = b"\xff" * 4
    return (
        b"RF64" + everywhere + b"WAVE" + sizes,
        (chunks, sound.size_at),
        everywhere,
        (sound.size_at + 4, stop),
    )


def _number(data: bytes, big: bool) -> int:
    return int.from_bytes(data, "big" if big else "little")
