"""FLAC: a header with the number of samples, then frames that say where in the recording they belong (RFC 9639).

1. The next ``fLaC`` with its first block begins another recording.
2. A number of samples of 0 means that it was not known (a pipe); the last frame gives it. libsndfile fails at the end
of a recording whose number it does not know.
3. After a failure decoding continues at the next frame that is followed by a matching one; its number states how much
   is missing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..source import View
from . import riff
from .part import Parsed, Part

_MARK = b"fLaC"
_BEGINNINGS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
_BLOCK_SIZES = (0, 192, 576, 1152, 2304, 4608, 0, 0, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_LONGEST_HEADER = 16
_UNKNOWN = 0
_OGG = b"OggS\x00\x02"
_TAIL = 1 << 19
"""Bytes at the end in which the last frame is searched first."""

_TAGS = 4096
"""Bytes after the last frame that need no warning: tags and padding."""


class _Frame(NamedTuple):
    start: int
    position: int
    """Its first sample's number in the recording."""
    samples: int


@dataclass(frozen=True)
class _Stream:
    """A recording in a file."""

    start: int
    frames_at: int
    end: int
    info: bytes
    """The first block: 34 bytes."""

    @property
    def rate(self) -> int:
        return int.from_bytes(self.info[10:13], "big") >> 4

    @property
    def total(self) -> int:
        return int.from_bytes(self.info[13:18], "big") & 0xF_FFFF_FFFF

    @property
    def block(self) -> int:
        """Samples of a frame where all are alike; the number of a frame counts such blocks."""
        return int.from_bytes(self.info[2:4], "big")

    @property
    def longest(self) -> int:
        """Bytes of its longest frame, 0 where its header does not say."""
        return int.from_bytes(self.info[7:10], "big")

    @property
    def channels(self) -> int:
        return (self.info[12] >> 1 & 7) + 1

    def header(self, total: int) -> bytes:
        """A header for frames with ``total`` samples together."""
        packed = int.from_bytes(self.info[10:18], "big") & ~0xF_FFFF_FFFF | total & 0xF_FFFF_FFFF
        info = self.info[:10] + packed.to_bytes(8, "big") + bytes(16)  # no digest: it would be of all frames
        return b"fLaC\x80\x00\x00\x22" + info


def parse(view: View, start: int) -> Parsed:
    """The recording that begins at ``start``."""
    stream = _stream(view, start)
    if stream is None:
        return Parsed([], start)

    resume = functools.partial(_later, stream, stream.frames_at, 0)
    total = stream.total
    if total != _UNKNOWN:
        part = Part(((start, stream.end),), announced=total, resume=resume)
        return Parsed([part], stream.end, missing=_swallowed(view, stream))
    pairs = _pairs(view, stream, stream.frames_at)
    last = functools.reduce(lambda _, pair: pair[1], pairs, None)
    if last is None:
        return Parsed([Part(((start, stream.end),))], stream.end)
    part = Part((stream.header(last.position + last.samples), (stream.frames_at, stream.end)), resume=resume)
    return Parsed([part], stream.end)


def _stream(view: View, start: int) -> _Stream | None:
    info = view.at(start + 8, 34)
    if view.at(start, 8) not in _BEGINNINGS or len(info) < 34:
        return None
    at, last = start + 4, False
    while not last and len(head := view.at(at, 4)) == 4:
        last = bool(head[0] & 0x80)
        at += 4 + int.from_bytes(head[1:], "big")
    end = view.size
    for mark in (_MARK, _OGG):  # the nearest first: what follows it is not searched again for each of many
        end = _next(view, at, mark, end) or end
    return _Stream(start, at, riff.next_header(view, at, (b"WAVE",), end) or end, info)


def _next(view: View, at: int, mark: bytes, end: int) -> int | None:
    """Where another recording begins by its mark, and by what must follow the mark."""
    while (at := view.find(mark, at, end)) >= 0:
        if mark != _MARK or view.at(at, 8) in _BEGINNINGS:
            return at
        at += 1
    return None


def _swallowed(view: View, stream: _Stream) -> tuple[str, ...]:
    """A line where more than the last frame follows its beginning: decoders do not look at it."""
    for begin in (max(stream.frames_at, stream.end - _TAIL), stream.frames_at):
        for _, frame in _pairs(view, stream, begin):
            if frame.position + frame.samples >= stream.total:
                left = stream.end - frame.start
                longest = stream.longest or 2 * frame.samples * stream.channels * 4
                return (
                    (f"what follows its end, among the last {left} bytes, is not read",)
                    if left > longest + _TAGS
                    else ()
                )
    return ()


def _later(stream: _Stream, at: int, begun: int, view: View, read: int) -> Part | None:
    """The part after the frame in which the decoder failed: from ``at`` on, ``read`` samples after sample ``begun``."""
    for before, _ in _pairs(view, stream, at):
        if before.position > begun + read:
            left = max(0, stream.total - before.position) or (1 << 36) - 1
            return Part(
                (stream.header(left), (before.start, stream.end)),
                announced=left if stream.total else None,
                damage="frames are missing or damaged",
                begins_at=before.position / stream.rate,
                continues=True,
                resume=functools.partial(_later, stream, before.start + 1, before.position),
            )
    return None


def _pairs(view: View, stream: _Stream, at: int) -> Iterator[tuple[_Frame, _Frame]]:
    """Every frame from a place on, after the one before it, whose numbers lead to its own.

    Samples may look like a frame's header: in a recording of 10 s about one time in a thousand. No number leads there.
    """
    ended: dict[int, _Frame] = {0: _Frame(at, 0, 0)} if at == stream.frames_at else {}
    for frame in _frames(view, stream, at):
        if (before := ended.pop(frame.position, None)) is not None:
            yield before, frame
        ended[frame.position + frame.samples] = frame


def _frames(view: View, stream: _Stream, at: int) -> Iterator[_Frame]:
    """Every frame whose header is right, from a place on."""
    sync = view.at(stream.frames_at, 2)
    sync = sync if sync in (b"\xff\xf8", b"\xff\xf9") else b"\xff\xf8"  # blocks of one size, or of any
    pattern = re.compile(re.escape(sync) + rb"[\x10-\xfe][\x00-\xaf]")  # a size of block, a rate, channels that exist
    while (at := view.search(pattern, at, stream.end)) >= 0:
        if (frame := _frame(view.at(at, _LONGEST_HEADER), at, stream)) is not None:
            yield frame
        at += 2


def _frame(head: bytes, at: int, stream: _Stream) -> _Frame | None:
    """A frame's header; None where it is not one, or not of this recording."""
    if len(head) < 6 or head[3] & 1:
        return None
    size, rate = head[2] >> 4, head[2] & 15
    number, place = _coded(head, 4)
    if number is None or size == 0 or rate == 15:
        return None
    if size in (6, 7):
        samples = int.from_bytes(head[place : place + size - 5], "big") + 1
        place += size - 5
    else:
        samples = _BLOCK_SIZES[size]
    place += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if place >= len(head) or _checksum(head[:place]) != head[place]:
        return None
    return _Frame(at, number if head[1] & 1 else number * stream.block, samples)


def _coded(head: bytes, at: int) -> tuple[int | None, int]:
    """A number in UTF-8's code, up to 36 bits, and where it ends."""
    first = head[at]
    if first < 0x80:
        return first, at + 1
    more = next((count for count in range(1, 7) if first & (0x80 >> (count + 1)) == 0), 0)
    rest = head[at + 1 : at + 1 + more]
    if first < 0xC0 or more == 0 or len(rest) < more or any(byte & 0xC0 != 0x80 for byte in rest):
        return None, at
    number = first & (0x3F >> more)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, at + 1 + more


def _checksum(data: bytes) -> int:
    """CRC-8 with the polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value
