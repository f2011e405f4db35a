"""AU, CAF, W64, NIST SPHERE and VOC: their header says where they end, so what was joined on is found there."""

from __future__ import annotations

import struct

from ..source import View
from .part import Parsed, Part

_SLACK = 64
"""Bytes that a header may state too many: writers count it, or their padding, among the samples."""

_LONGEST_HEADER = 1 << 20


def parse_au(view: View, start: int) -> Parsed:
    """Sun's AU: the offset of the samples and their bytes, all ones where unknown."""
    head = view.at(start + 4, 8)
    if len(head) < 8:
        return Parsed([], start)
    offset, size = struct.unpack(">II", head)
    return _ended(view, start, start + offset + size, known=size != 0xFFFF_FFFF)


def parse_caf(view: View, start: int) -> Parsed:
    """Apple's CAF: chunks with sizes of 64 bits, -1 where the last one goes to the end of the file."""
    at = start + 8
    while len(head := view.at(at, 12)) == 12 and head[:4] != b"caff":
        size = struct.unpack(">q", head[4:])[0]
        if size < 0:
            return _ended(view, start, view.size, known=False)
        if head[:4] == b"data" and at + 12 + size > view.size:  # libsndfile refuses it as it is
            segments = ((start, at + 4), struct.pack(">q", view.size - at - 12), (at + 12, view.size))
            return Parsed([Part(segments, cut=True)], view.size)
        at += 12 + size
    return _ended(view, start, at, known=True)


def parse_w64(view: View, start: int) -> Parsed:
    """Sony's W64: the bytes of the whole file after the first 16."""
    head = view.at(start + 16, 8)
    if len(head) < 8:
        return Parsed([], start)
    return _ended(view, start, start + struct.unpack("<Q", head)[0], known=True)


def parse_nist(view: View, start: int) -> Parsed:
    """NIST's SPHERE, as corpora of the LDC are: the header's size, then fields ``name -type value``, a line each."""
    size = view.at(start + 8, 7).strip()
    if not size.isdigit():
        return Parsed([], start)
    lines = view.at(start + 16, min(int(size), _LONGEST_HEADER)).partition(b"end_head")[0].split(b"\n")
    fields = {words[0]: words[2] for line in lines if len(words := line.split(None, 2)) == 3}
    coding = fields.get(b"sample_coding", b"pcm")
    width = fields.get(b"sample_n_bytes", b"2" if coding.startswith(b"pcm") else b"1")
    numbers = [_count(fields.get(b"sample_count", b"")), _count(fields.get(b"channel_count", b"1")), _count(width)]
    known = all(numbers) and b"embedded" not in coding  # those are compressed
    return _ended(view, start, start + int(size) + numbers[0] * numbers[1] * numbers[2], known)


def parse_voc(view: View, start: int) -> Parsed:
    """Creative's VOC: blocks with a kind and a size of 24 bits, of which kind 0 ends the file; some have none."""
    head = view.at(start + 20, 2)
    if len(head) < 2:
        return Parsed([], start)
    at = start + struct.unpack("<H", head)[0]
    while len(block := view.at(at, 4)) == 4 and block[0]:
        at += 4 + int.from_bytes(block[1:], "little")
    return _ended(view, start, at + (view.at(at, 1) == b"\0"), known=True)


def _count(text: bytes) -> int:
    """A number in a header; 0 where it is none."""
    return int(text) if text.isdigit() and len(text) < 12 else 0


def _ended(view: View, start: int, end: int, known: bool) -> Parsed:
    """A recording up to ``end``, or to the end of the file, which cuts it short where that is sooner."""
    cut = known and end > view.size + _SLACK
    stop = view.size if end > view.size or end <= start or not known else end
    return Parsed([Part(((start, stop),), cut=cut)], stop)
