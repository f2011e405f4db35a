"""Plain text, one line a segment, as whisper's .txt."""

from __future__ import annotations

from ..transcript import Transcript
from . import Layout

SUFFIX = ".txt"


def render(transcript: Transcript, name: str, layout: Layout) -> str:
    """One line a segment."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments)
