"""Containers that FFmpeg reads (MP4, Matroska, ASF, AVI, FLV, AMR): only where each of several joined files begins.

FFmpeg decodes the first of joined files, and does not report the others.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from ..source import View
from .part import Parsed, Part

_EBML = b"\x1a\x45\xdf\xa3"
_SIGNATURES = (
    (_EBML, 0),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", 0),  # ASF
    (b"AVI LIST", 8),
    (b"#!AMR", 0),
    (b"TTA1\x01\0", 0),
    *((b"FLV\x01" + bytes((flags, 0, 0, 0, 9)), 0) for flags in (1, 4, 5)),
)
"""Bytes by which a file begins, and how far in they are."""


@dataclass(frozen=True)
class Joined:
    """One of the recordings in a file that FFmpeg decodes."""

    place: tuple[int, int]
    """Its first byte, and the one after its last."""

    cut: bool = False
    """Whether its container says that it breaks off."""

    damage: str | None = None
    """What its container says is wrong within it, in words; None where it does not."""


def stretches(view: View, parsed: Parsed) -> list[Joined]:
    """Each of the joined files, in order; one where nothing was joined.

    parsed: what is known of the structure of a file of another kind, with a codec that only FFmpeg decodes.
    """
    if parsed.parts:
        return _recordings(parsed, view.size)
    starts = _boxes(view) if view.at(4, 4) == b"ftyp" else _signed(view)
    return [Joined(place) for place in zip(starts, [*starts[1:], view.size])]


def _recordings(parsed: Parsed, size: int) -> list[Joined]:
    """The recordings in a file of ``size`` bytes, each with all of its bytes, whole or not."""
    groups: list[list[Part]] = []
    for part in parsed.parts:
        if groups and part.continues:
            groups[-1].append(part)
        else:
            groups.append([part])
    starts = [0, *(_start(group[0]) for group in groups[1:])]
    return [
        Joined(place, group[-1].cut, next((part.damage for part in group if part.damage is not None), None))
        for group, place in zip(groups, zip(starts, [*starts[1:], size]))
    ]


def _start(part: Part) -> int:
    """Where the first bytes of a part are in its file; its decoder may get generated ones before them."""
    return next(segment[0] for segment in part.segments if not isinstance(segment, bytes))


def has_index(view: View, start: int, end: int) -> bool:
    """Whether an MP4 file holds its index, without which nothing of it can be read."""
    return any(name == b"moov" for _, name in _headers(view, start, end))


def avi_seconds(view: View, start: int, end: int) -> float:
    """The seconds of sound that an AVI file's header announces where the file ends before its RIFF does; else 0.

    FFmpeg takes the length of one without its index from the bytes that are there.
    """
    head = view.at(start, _AVI_HEADER)
    if head[:4] != b"RIFF" or head[8:12] != b"AVI " or start + 8 + int.from_bytes(head[4:8], "little") <= end:
        return 0.0
    at = head.find(b"auds")  # the stream header's kind; 20 bytes on: scale, rate, start, length
    if at < 8 or head[at - 8 : at - 4] != b"strh" or len(head) < at + 36:
        return 0.0
    scale, rate, _, length = struct.unpack("<4I", head[at + 20 : at + 36])
    return float(length * scale / rate) if rate else 0.0


_AVI_HEADER = 1 << 16
"""Bytes in which the headers of an AVI file's streams lie."""

_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)

_ADTS_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")


def adts_holes(view: View, at: int, end: int) -> list[float]:
    """The seconds at which other bytes are between the frames of an AAC stream (ISO 13818-7)."""
    holes: list[float] = []
    seconds, after = 0.0, at
    while at < end:
        length, duration = _adts(view, at)
        whole = length > 0 and at + length <= end
        if whole and (at == after or at + length == end or _adts(view, at + length)[0]):
            if at != after and seconds:
                holes.append(seconds)
            at = after = at + length
            seconds += duration
            continue
        place = view.search(_ADTS_SYNC, at + 1, end)
        at = place if place >= 0 else end
    return holes


def adts_frame(head: bytes) -> tuple[int, int] | None:
    """The bytes of the ADTS frame with this header of 7 bytes, and what all headers share; None for other bytes."""
    length, _ = _adts_of(head)
    return (length, int.from_bytes(head[:4], "big") >> 4) if length else None


def _adts(view: View, at: int) -> tuple[int, float]:
    """The bytes and the seconds of the frame at a place; 0 bytes where there is none."""
    return _adts_of(view.at(at, 7))


def _adts_of(head: bytes) -> tuple[int, float]:
    rate = head[2] >> 2 & 15 if len(head) == 7 else 15
    if rate >= len(_ADTS_RATES) or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0, 0.0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0, 1024 * ((head[6] & 3) + 1) / _ADTS_RATES[rate]


def _boxes(view: View) -> list[int]:
    """Where the joined MP4 files begin: each type box after sound begins another one."""
    starts, sound = [0], False
    for at, name in _headers(view, 0, view.size):
        if name == b"ftyp" and sound:
            starts.append(at)
            sound = False
        sound = sound or name == b"mdat"
    return starts


def _headers(view: View, at: int, end: int) -> list[tuple[int, bytes]]:
    """Where each outermost box between two places begins, and its type."""
    boxes: list[tuple[int, bytes]] = []
    while at < end and len(head := view.at(at, 16)) >= 8 and len(boxes) < 1_000_000:
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        boxes.append((at, head[4:8]))
        if size < 8:  # 0: up to the end
            break
        at += size
    return boxes


def _signed(view: View) -> list[int]:
    """Where the first file's signature occurs again: each place begins another file."""
    starts = [0]
    for signature, place in _SIGNATURES:
        if view.at(place, len(signature)) != signature:
            continue
        at = view.find(signature, place + 1)
        while at >= 0:
            if signature != _EBML or any(name in view.at(at, 64) for name in (b"webm", b"matroska")):
                starts.append(at - place)
            at = view.find(signature, at + 1)
    return starts
