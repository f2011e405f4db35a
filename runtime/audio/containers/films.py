"""Containers that FFmpeg reads (MP4, Matroska, ASF, AVI, FLV, AMR): only where each of several joined files begins.

FFmpeg decodes the first of joined files, and does not report the others.
"""

from __future__ import annotations

import re
import struct

from ..source import View

_EBML = b"\x1a\x45\xdf\xa3"
_SIGNATURES = (
    (_EBML, 0),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", 0),  # ASF
    (b"AVI LIST", 8),
    (b"#!AMR", 0),
    *((b"FLV\x01" + bytes((flags, 0, 0, 0, 9)), 0) for flags in (1, 4, 5)),
)
"""Bytes by which a file begins, and how far in they are."""


def stretches(view: View) -> list[tuple[int, int]]:
    """Where each of the joined files begins and ends; one stretch where nothing was joined."""
    starts = _boxes(view) if view.at(4, 4) == b"ftyp" else _signed(view)
    return list(zip(starts, [*starts[1:], view.size]))


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


def _adts(view: View, at: int) -> tuple[int, float]:
    """The bytes and the seconds of the frame at a place; 0 bytes where there is none."""
    head = view.at(at, 7)
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
