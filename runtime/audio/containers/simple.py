"""AU, CAF and W64: files whose header says where they end, so that what was joined on is found there."""

from __future__ import annotations

import struct

from ..source import View
from .part import Parsed, Part

_SLACK = 64
"""Bytes that a header may state too many: writers count it, or their padding, among the samples."""


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


def _ended(view: View, start: int, end: int, known: bool) -> Parsed:
    """A recording up to ``end``, or to the end of the file, which cuts it short where that is sooner."""
    cut = known and end > view.size + _SLACK
    stop = view.size if end > view.size or end <= start or not known else end
    return Parsed([Part(((start, stop),), cut=cut)], stop)
