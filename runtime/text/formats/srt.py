"""SubRip subtitles."""

from __future__ import annotations

from ..cues import cues, timestamp
from ..transcript import Transcript
from . import CaptionLayout

SUFFIX = ".srt"


def render(transcript: Transcript, name: str, layout: CaptionLayout) -> str:
    """Numbered cues, an empty line between."""
    return "\n".join(
        f"{number}\n{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}\n" + "".join(f"{x}\n" for x in cue.lines)
        for number, cue in enumerate(cues(transcript, layout), 1)
    )
