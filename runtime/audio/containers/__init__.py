"""The recordings in an audio file, one after the other, and where each of them is whole, cut short or damaged.

Decoders stop at the end of the first recording, at a hole, or at a length that a header states wrongly, and report
nothing. So the structure of a file is parsed here first, and every undamaged stretch of it is a ``Part`` that is
decoded alone. A file in this folder is a family of containers; each offers ``parse(view, start) -> Parsed``.
"""

from __future__ import annotations

from collections.abc import Callable

from ..source import View
from . import films, flac, mpeg, ogg, riff, simple
from .part import MOST_PARTS, Parsed, Part

__all__ = ["Parsed", "Part", "parse", "stream_of"]

_TRAILING = 4096
"""Bytes after the last recording that need no warning: tags of 128 bytes, padding."""

_LARGEST_PAGE = 65_307
"""Bytes of an Ogg page at most (RFC 3533): fewer bytes after a recording that was cut short are what is left of one."""

_Parser = Callable[[View, int], Parsed]
_PARSERS: tuple[tuple[bytes, _Parser], ...] = (
    (b"RIFF", riff.parse),
    (b"RIFX", riff.parse),
    (b"RF64", riff.parse),
    (b"FORM", riff.parse),
    (b"OggS", ogg.parse),
    (b"fLaC", flac.parse),
    (b".snd", simple.parse_au),
    (b"caff", simple.parse_caf),
    (b"riff\x2e\x91\xcf\x11", simple.parse_w64),
    (b"NIST_1A\n", simple.parse_nist),
    (b"Creative", simple.parse_voc),
)


def parse(view: View, mpeg_audio: bool = False) -> Parsed:
    """The recordings in a file, in order; no parts for a format that is not parsed here, which PyAV may still read.

    mpeg_audio: whether its name says that it is MPEG audio, which may begin after other bytes.
    """
    parts: list[Part] = []
    missing: list[str] = []
    notes: list[str] = []
    at = mpeg.after_tags(view, 0)  # an ID3 tag may begin files of other kinds too
    while at < view.size and len(parts) < MOST_PARTS:
        parsed = _parser_for(view, at, mpeg_audio)(view, at)
        if parsed.end <= at:
            break
        parts += parsed.parts
        missing += parsed.missing
        notes += parsed.notes
        at = parsed.end
    left = view.size - at
    broken = bool(parts) and parts[-1].cut and left <= _LARGEST_PAGE
    if parts and left > _TRAILING and not broken and view.at(at, 1 << 16).strip(b"\0"):
        missing.append(f"the last {left} bytes are not sound that can be read")
    if len(parts) > MOST_PARTS:
        missing.append(f"it is in more than {MOST_PARTS} pieces; the first {MOST_PARTS} are decoded")
    return Parsed(parts[:MOST_PARTS], at, tuple(missing), tuple(notes))


def stream_of(head: bytes) -> str | None:
    """The compressed stream without a container that begins with these bytes (4 kB are enough), in words.

    None for other bytes: three headers must agree, and the first must not be in its own frame, as it is where constant
    samples look like headers.
    """
    return next((words for words, frame in _STREAMS if _follow(head, frame)), None)


def _follow(head: bytes, frame: Callable[[bytes], tuple[int, int] | None]) -> bool:
    at, kinds, ends = 0, set[int](), list[int]()
    for _ in range(3):
        found = frame(head[at : at + 7])
        if found is None:
            return False
        at += found[0]
        kinds.add(found[1])
        ends.append(at)
    return len(kinds) == 1 and head[:4] not in head[4 : ends[0]]


_STREAMS = (("MPEG audio (MP3)", mpeg.frame), ("AAC audio (ADTS)", films.adts_frame))


def _parser_for(view: View, at: int, mpeg_audio: bool) -> _Parser:
    head = view.at(at, 8)
    known = next((parse for signature, parse in _PARSERS if head.startswith(signature)), None)
    if known is None and (mpeg_audio or mpeg.begins(view, at)):
        return mpeg.parse
    return known or (lambda view, at: Parsed([], at))
