"""What a file of sound holds: its recordings, one after the other, and where each is whole, cut short or damaged.

Decoders stop at the end of the first recording, at a hole, or at a length that a header states wrongly, and report
nothing. So the structure of a file is parsed here first, and every undamaged stretch of it is a ``Part`` that is
decoded by itself. A file in this folder is a family of containers; each offers ``walk(view, start) -> Walked``.
"""

from __future__ import annotations

from collections.abc import Callable

from ..source import View
from . import flac, mpeg, ogg, riff, simple
from .part import MOST_PARTS, Part, Walked

__all__ = ["Part", "Walked", "walk"]

_TRAILING = 4096
"""Bytes after the last recording that need no warning: tags of 128 bytes, padding."""

_Walk = Callable[[View, int], Walked]
_WALKS: tuple[tuple[bytes, _Walk], ...] = (
    (b"RIFF", riff.walk),
    (b"RIFX", riff.walk),
    (b"RF64", riff.walk),
    (b"FORM", riff.walk),
    (b"OggS", ogg.walk),
    (b"fLaC", flac.walk),
    (b".snd", simple.walk_au),
    (b"caff", simple.walk_caf),
    (b"riff\x2e\x91\xcf\x11", simple.walk_w64),
)


def walk(view: View, mpeg_audio: bool = False) -> Walked:
    """The recordings in a file, in order; no parts where it is of another kind, which may still be a medium.

    mpeg_audio: whether its name says that it is MPEG audio, which may begin after other bytes.
    """
    parts: list[Part] = []
    missing: list[str] = []
    notes: list[str] = []
    at = mpeg.after_tags(view, 0)  # an ID3 tag may begin files of other kinds too
    while at < view.size and len(parts) < MOST_PARTS:
        walked = _walk_for(view, at, mpeg_audio)(view, at)
        if walked.end <= at:
            break
        parts += walked.parts
        missing += walked.missing
        notes += walked.notes
        at = walked.end
    left = view.size - at
    if parts and left > _TRAILING and view.at(at, 1 << 16).strip(b"\0"):
        missing.append(f"the last {left} bytes are not sound that can be read")
    if len(parts) > MOST_PARTS:
        missing.append(f"it is in more than {MOST_PARTS} pieces; the first {MOST_PARTS} are decoded")
    return Walked(parts[:MOST_PARTS], at, tuple(missing), tuple(notes))


def _walk_for(view: View, at: int, mpeg_audio: bool) -> _Walk:
    head = view.at(at, 8)
    known = next((walk for signature, walk in _WALKS if head.startswith(signature)), None)
    if known is None and (mpeg_audio or mpeg.begins(view, at)):
        return mpeg.walk
    return known or (lambda view, at: Walked([], at))
