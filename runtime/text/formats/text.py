"""Plain text, one line a segment, as whisper's .txt."""

from __future__ import annotations

from ... import escape
from ..transcript import Transcript
from . import CaptionLayout

SUFFIX = ".txt"


def render(transcript: Transcript, name: str, layout: CaptionLayout) -> str:
    """One line a segment."""
    return "".join(f"{escape.one_line(segment.text)}\n" for segment in transcript.segments)
