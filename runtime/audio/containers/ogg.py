"""Ogg (Vorbis, Opus, FLAC, Speex): pages with a checksum, a number and a stream's serial (RFC 3533).

1. A page counts only if its checksum is right, which zlib computes on bytes and result with their bits reversed: it is
the same polynomial, read from the other end.
2. A recording is what follows pages that begin streams, up to the next such pages: recordings may be joined.
3. Of several streams the first one of sound is taken; pages of pictures and captions may come between its pages.
4. A gap in the page numbers splits a recording. What follows is decoded with the headers of its beginning; its last
page states which sample of the recording it ends with, and so how much is missing.
5. A page that states a later sample than its packets can reach splits a recording too: a program that left out pages
numbered the others anew. Opus packets state their length (RFC 6716, 3.1); Vorbis ones are half of a long block at most.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ..source import Segment, View
from ..tracks import BREAKS_OFF
from .part import Parsed, Part

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_SOUND = ((b"\x01vorbis", 3), (b"OpusHead", 2), (b"\x7fFLAC", 0), (b"Speex   ", 2))
_MOST_CHECKED = 8
"""Bytes of damaged pages whose checksums are computed, for each byte of the file."""

_OPUS_RATE = 48_000


class _Page(NamedTuple):
    start: int
    end: int
    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes

    @property
    def begins(self) -> bool:
        return bool(self.flags & 2)

    @property
    def ends(self) -> bool:
        return bool(self.flags & 4)

    @property
    def packets(self) -> int:
        """How many packets end on it."""
        return sum(size < 255 for size in self.lacing)


def parse(view: View, start: int) -> Parsed:
    """The recording that begins at ``start``."""
    link, end = _link(view, start)
    sounds = [page for page in link if page.begins and _headers_of(view, page) is not None]
    if not sounds:
        return Parsed([Part(((start, end),))] if link else [], end)
    own = [page for page in link if page.serial == sounds[0].serial]
    headers = _header_pages(own, _headers_of(view, sounds[0]) or 0)
    runs = _runs(own[headers:], _LengthOf(view, sounds[0]))
    first, shared = own[headers - 1].number + 1, _segments(own[:headers])
    parts = [
        Part(
            _merged([*shared, *_segments(run)]),
            damage=None if run is runs[0] and run[0].number == first else "pages are missing or damaged",
            cut=run is runs[-1] and not run[-1].ends,
            ends_at=_seconds(view, sounds[0], max(page.granule for page in run)),
            continues=run is not runs[0],
        )
        for run in runs
    ]
    if not runs:
        parts = [Part(_merged(shared), cut=not own[-1].ends)]
    begun = {page.serial for page in link if page.begins}
    orphans = any(page.serial not in begun for page in link)
    return Parsed(
        parts,
        end,
        missing=("pages of a stream whose beginning is missing cannot be decoded",) if orphans else (),
        notes=(f"the first of its {len(sounds)} sound tracks is transcribed",) if len(sounds) > 1 else (),
    )


def _link(view: View, start: int) -> tuple[list[_Page], int]:
    """The good pages of one recording, and where it ends."""
    pages: list[_Page] = []
    begun = False
    for page in _pages(view, start):
        if page.begins and begun:
            return pages, page.start
        begun = begun or not page.begins
        pages.append(page)
    return pages, pages[-1].end if pages else start


def _pages(view: View, at: int) -> Iterator[_Page]:
    """Every good page from a place on, whatever is between them."""
    checked = 0  # a crafted file can hold nothing but beginnings of pages, and each would cost a checksum
    while at >= 0 and checked < _MOST_CHECKED * view.size + (1 << 24):
        page = _page(view, at)
        if page is not None:
            yield page
            at = page.end
            continue
        checked += 1 << 16 if view.at(at, 5) == b"OggS\0" else 0
        at = view.find(b"OggS", at + 1)


def _page(view: View, at: int) -> _Page | None:
    head = view.at(at, 27)
    if len(head) < 27 or head[:5] != b"OggS\0":
        return None
    flags, granule, serial, number, checksum, count = struct.unpack("<BqIIIB", head[5:])
    lacing = view.at(at + 27, count)
    size = 27 + count + sum(lacing)
    data = view.at(at, size)
    if len(data) < size or _checksum(data[:22] + bytes(4) + data[26:]) != checksum:
        return None
    return _Page(at, at + size, flags, granule, serial, number, lacing)


def _checksum(data: bytes) -> int:
    checksum = zlib.crc32(data.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(checksum.to_bytes(4, "little").translate(_REVERSED), "big")


def _headers_of(view: View, page: _Page) -> int | None:
    """How many header packets a stream of sound begins with (0: its first packet states it); None for other streams."""
    head = _body(view, page, 8)
    return next((packets for magic, packets in _SOUND if head.startswith(magic)), None)


def _header_pages(own: list[_Page], packets: int) -> int:
    """How many of a stream's pages hold its headers; sound begins on a page of its own."""
    seen = 0
    for count, page in enumerate(own, 1):
        seen += page.packets
        following = own[count] if count < len(own) else None
        if seen >= packets and (packets or following is None or following.granule > 0):
            return count
    return len(own)


class _LengthOf:
    """How many samples the packets that end on a page have at most, for the pages of one stream in order."""

    def __init__(self, view: View, first: _Page) -> None:
        self._view = view
        head = _body(view, first, 29)
        self.rate = _rate(head)
        self._opus = head.startswith(b"OpusHead")
        self._half_block = (1 << (head[28] >> 4)) // 2 if head.startswith(b"\x01vorbis") and len(head) > 28 else None
        self._open: bytes | None = None  # the first bytes of a packet that goes on on the next page

    def __call__(self, page: _Page) -> int | None:
        """None where the packets do not say."""
        if not self._opus:
            return None if self._half_block is None else page.packets * self._half_block
        data = _body(self._view, page, sum(page.lacing))
        packet = self._open if page.flags & 1 else None
        samples, at = 0, 0
        for size in page.lacing:
            packet = data[at : at + min(size, 2)] if packet is None else packet
            at += size
            if size < 255:
                samples += _opus_samples(packet)
                packet = None
        self._open = packet
        return samples


def _opus_samples(packet: bytes) -> int:
    """The length of a packet at 48 kHz, by its first two bytes; 0 for an empty one."""
    if not packet:
        return 0
    kind, code = packet[0] >> 3, packet[0] & 3
    lengths = (480, 960, 1920, 2880) if kind < 12 else (480, 960) * 2 if kind < 16 else (120, 240, 480, 960)
    frames = packet[1] & 63 if code == 3 and len(packet) > 1 else (1, 2, 2, 0)[code]
    return frames * lengths[kind & 3]


def _runs(pages: list[_Page], length_of: _LengthOf) -> list[list[_Page]]:
    """Pages whose numbers and samples follow each other."""
    runs: list[list[_Page]] = []
    reached: int | None = None  # the last sample that the pages so far can have; None where it is not known
    for page in pages:
        length = length_of(page)
        reached = None if reached is None or length is None else reached + length
        jumps = reached is not None and page.granule - reached > BREAKS_OFF * length_of.rate
        reached = page.granule if page.granule >= 0 else reached
        if not runs or jumps or page.number != runs[-1][-1].number + 1:
            runs.append([])
        runs[-1].append(page)
    return runs


def _seconds(view: View, first: _Page, granule: int) -> float | None:
    """The second at which a page with this sample count ends; None where the rate is not known."""
    head = _body(view, first, 40)
    rate = _rate(head)
    if granule < 0 or not rate:
        return None
    lead = int.from_bytes(head[10:12], "little") if head.startswith(b"OpusHead") else 0  # put before the sound
    return max(0, granule - lead) / rate


def _rate(head: bytes) -> int:
    """The samples a second in which pages are counted, by a stream's first packet; 0 where it is not known."""
    if head.startswith(b"OpusHead"):
        return _OPUS_RATE
    place = 12 if head.startswith(b"\x01vorbis") else 36 if head.startswith(b"Speex") else None
    return int.from_bytes(head[place : place + 4], "little") if place is not None else 0


def _body(view: View, page: _Page, size: int) -> bytes:
    """The first bytes of a page's packets."""
    return view.at(page.start + 27 + len(page.lacing), size)


def _segments(pages: list[_Page]) -> list[tuple[int, int]]:
    return [(page.start, page.end) for page in pages]


def _merged(segments: list[tuple[int, int]]) -> tuple[Segment, ...]:
    merged: list[tuple[int, int]] = []
    for start, end in segments:
        if merged and merged[-1][1] == start:
            merged[-1] = merged[-1][0], end
        else:
            merged.append((start, end))
    return tuple(merged)
