"""Tab-separated segments as whisper writes them: start and end in milliseconds, then the text."""

from __future__ import annotations

from ... import escape
from ..transcript import Transcript
from . import CaptionLayout

SUFFIX = ".tsv"


def render(transcript: Transcript, name: str, layout: CaptionLayout) -> str:
    """A header line, then one line a segment."""
    rows = (f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{escape.csv_cell(s.text)}\n" for s in transcript.segments)
    return "start\tend\ttext\n" + "".join(rows)
