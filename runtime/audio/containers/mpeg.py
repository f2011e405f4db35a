"""MPEG audio (MP3, and layers I and II): frames without a container, between tags of several kinds.

1. A frame's header gives its length, so the next one is where it ends. A header counts only where another of the same
kind follows it: four bytes of other data often look like a header.
2. Frames of one kind (version, layer, rate, channels) are a stretch. A frame with a Xing, Info or VBRI header begins a
recording, and so does a change of kind: files are joined, and recorded radio streams change their format.
3. The decoder ends at the number of frames that such a header states, and guesses a number where there is none: from
the first frame's length, which is wrong for a variable rate. So a stretch without a right number gets a Xing frame in
front (decoders do not decode it to sound).
4. Tags (ID3v2, ID3v1, APE) are left out. Other bytes between frames are damage.
"""

from __future__ import annotations

import functools
import re
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from ..source import Segment, View
from .part import MOST_PARTS, Parsed, Part

_BITRATES = {  # kbit/s by (MPEG 1, layer), ISO 11172-3 and 13818-3
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_TAGS = (b"Xing", b"Info")
_OTHERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")
_KIND = 0xFFFE0C00
"""The bits of a header that stay within a recording: sync, version, layer, rate."""

_SYNC = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")
"""What a header can begin with; a run of 0xFF, as of erased memory, is passed over at once."""

_CHUNK = 1 << 18
_LEADING = 1 << 16
"""Bytes before the first frame that are searched for it."""

_SLACK = 4
"""Frames that a header may state too many: some encoders count its own frame, or frames that they did not write."""

_FEWEST = 2
"""Frames that libmpg123 needs to recognise a stream."""


class _Header(NamedTuple):
    length: int
    samples: int
    rate: int
    channels: int
    tag_at: int
    """Where in the frame a Xing header is."""


@dataclass
class _Run:
    """Frames of one kind, one after the other."""

    word: int
    form: _Header
    tagged: int | None = None
    """Frames that its Xing header states, 0 where it does not; None where it has no such header."""

    damage: int = 0
    """Bytes before it that are neither frames nor tags."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0
    last: int = 0
    """Where its last frame starts."""

    cut: bool = False

    def add(self, start: int, last: int, end: int, frames: int) -> None:
        """Take ``frames`` frames from ``start`` to ``end``."""
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = self.spans[-1][0], end
        else:
            self.spans.append((start, end))
        self.frames += frames
        self.last = last

    def drop_last(self) -> int:
        """Leave the last frame out, which is damaged where nothing follows it; returns where it starts."""
        start, _ = self.spans.pop()
        if self.last > start:
            self.spans.append((start, self.last))
        self.frames -= 1
        return self.last


def begins(view: View, start: int) -> bool:
    """Whether MPEG audio begins here."""
    return _sure(view, after_tags(view, start))


def frame(head: bytes) -> tuple[int, int] | None:
    """The bytes of the frame with this header of 4 bytes, and what all headers of a recording share.

    None where it is no header.
    """
    word = int.from_bytes(head[:4], "big")
    form = _header(word) if len(head) >= 4 else None
    return None if form is None else (form.length, word & _KIND)


def parse(view: View, start: int) -> Parsed:
    """All frames from ``start`` up to the end of the file, or to what is of another kind."""
    runs: list[_Run] = []
    at = after = after_tags(view, start)
    while at < view.size and len(runs) < MOST_PARTS:
        if (tags := after_tags(view, at)) != at:
            at = after = tags
        elif (runs and at == after and _continues(view, at, runs[-1])) or _sure(view, at):
            at = after = _take(view, at, runs, at - after)
        elif view.at(at, 4) in _OTHERS or (not runs and at - start > _LEADING):
            break
        else:
            if at == after and runs and runs[-1].frames and not _partial(view, at):
                at = after = runs[-1].drop_last()
            elif at == after and runs:
                runs[-1].cut = True
            place = view.search(_SYNC, at + 1)
            at = place if place >= 0 else view.size
    runs = [run for run in runs if run.frames >= _FEWEST]
    followed = [following.damage > 0 and following.tagged is None for following in runs[1:]]
    parts = [_part(run, more) for run, more in zip(runs, [*followed, False])]
    return Parsed(parts, after if parts else start)


def _take(view: View, at: int, runs: list[_Run], skipped: int) -> int:
    """Take the frame at a place and all of its kind that follow; returns where they end."""
    word = int.from_bytes(view.at(at, 4), "big")
    form = _header(word)
    assert form is not None
    tagged = _tagged(view.at(at, 64), form)
    if not runs or skipped or tagged is not None or not _same(word, runs[-1]):
        runs.append(_Run(word, form, tagged, skipped if runs else 0))
    run = runs[-1]
    run.add(at, at, at + form.length, 1)
    at += form.length
    lengths: dict[bytes, int] = {}
    while len(data := view.at(at, _CHUNK)) >= 64:
        place = last = frames = 0
        while place + 64 <= len(data):
            head = data[place : place + 4]
            length = lengths.get(head)
            if length is None:
                following = _header(int.from_bytes(head, "big"))
                if following is None or not _same(int.from_bytes(head, "big"), run):
                    break
                length = lengths[head] = following.length
            if place + length > len(data) or _tagged(data[place : place + 64], form) is not None:
                break
            last, place, frames = place, place + length, frames + 1
        if not frames:
            break
        run.add(at, at + last, at + place, frames)
        at += place
    return at


def _continues(view: View, at: int, run: _Run) -> bool:
    """Whether a whole frame of a run's kind is at a place."""
    word = int.from_bytes(view.at(at, 4), "big")
    form = _header(word)
    return form is not None and _same(word, run) and at + form.length <= view.size


def _partial(view: View, at: int) -> bool:
    """Whether the file ends within a frame that begins here."""
    form = _header(int.from_bytes(view.at(at, 4), "big"))
    return view.size - at < 4 or (form is not None and at + form.length > view.size)


def _sure(view: View, at: int) -> bool:
    """Whether a frame is at a place: one that another of its kind follows, or a tag, or the end."""
    word = int.from_bytes(view.at(at, 4), "big")
    form = _header(word)
    if form is None or at + form.length > view.size:
        return False
    end = at + form.length
    following = int.from_bytes(view.at(end, 4), "big")
    return (
        end == view.size
        or after_tags(view, end) != end
        or (_header(following) is not None and following & _KIND == word & _KIND)
    )


def _same(word: int, run: _Run) -> bool:
    """Whether a header continues a run: its kind, and one channel or two."""
    return word & _KIND == run.word & _KIND and (word & 0xC0 == 0xC0) == (run.word & 0xC0 == 0xC0)


@functools.lru_cache(maxsize=1024)
def _header(word: int) -> _Header | None:
    """A frame's header; None where it is not one. A free bitrate (0) states no length, and is not supported."""
    version, layer, bitrate, rate = word >> 19 & 3, 4 - (word >> 17 & 3), word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = (44_100, 48_000, 32_000)[rate] >> (0 if first else 1 if version == 2 else 2)
    bits = _BITRATES[first, layer][bitrate] * 1000
    samples = 384 if layer == 1 else 1152 if layer == 2 or first else 576
    padding = word >> 9 & 1
    length = (12 * bits // hertz + padding) * 4 if layer == 1 else samples // 8 * bits // hertz + padding
    channels = 1 if word >> 6 & 3 == 3 else 2
    side = (17 if channels == 1 else 32) if first else (9 if channels == 1 else 17)
    return _Header(length, samples, hertz, channels, 4 + side + (0 if word >> 16 & 1 else 2))


def _tagged(head: bytes, form: _Header) -> int | None:
    """The frames that a Xing, Info or VBRI header states, 0 where it does not; None where there is no such header."""
    if form.samples == 384:
        return None
    place = form.tag_at
    if head[place : place + 4] in (b"Xing", b"Info"):
        return int.from_bytes(head[place + 8 : place + 12], "big") if head[place + 7] & 1 else 0
    return int.from_bytes(head[50:54], "big") if head[36:40] == b"VBRI" else None


def after_tags(view: View, at: int) -> int:
    """The place after the tags that begin at ``at``."""
    while size := _tag_size(view, at):
        at += size
    return min(at, view.size)


def _tag_size(view: View, at: int) -> int:
    """Bytes of the tag at a place; 0 where there is none."""
    head = view.at(at, 32)
    if head[:3] == b"ID3" and len(head) >= 10 and not any(byte & 0x80 for byte in head[6:10]):
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x20 else 0)
    if head[:3] == b"TAG":  # ID3v1: three letters, so what follows must fit
        following = view.at(at + 128, 4)
        fits = following[:3] in (b"", b"ID3", b"TAG") or _header(int.from_bytes(following, "big")) is not None
        return 128 if fits else 0
    return 0


def _part(run: _Run, followed: bool) -> Part:
    """A run as the decoder gets it, with a header that states its number of frames correctly.

    followed: whether the next run is of the same recording.
    """
    own = run.frames - (run.tagged is not None)
    continues = run.damage > 0 and run.tagged is None
    damage = f"{run.damage} bytes are not sound" if continues else None
    spans: list[Segment] = list(run.spans)
    stated = run.tagged or 0
    if stated >= own > 0:
        cut = stated > own + _SLACK
        announced = own if followed else stated
        return Part(tuple(spans), announced * run.form.samples, damage, cut and not followed, continues=continues)
    if run.tagged is not None:  # its number is too small
        start, end = run.spans[0]
        spans[0] = start + run.form.length, end
    if run.word >> 17 & 3 == 1:
        spans.insert(0, _xing(run.word, own))
    return Part(tuple(spans), own * run.form.samples, damage, run.cut and not followed, continues=continues)


def _xing(word: int, frames: int) -> bytes:
    """A frame of a run's kind that states how many frames follow, and holds no sound."""
    word = word & 0xFFFE_0DFF | 0x0001_8000  # without checksum and padding, and long enough
    form = _header(word)
    assert form is not None
    head = word.to_bytes(4, "big") + bytes(form.tag_at - 4)
    return (head + b"Xing" + struct.pack(">II", 1, frames)).ljust(form.length, b"\0")
