"""WebVTT subtitles (https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

from ..cues import cues, timestamp
from ..transcript import Transcript
from . import CaptionLayout

SUFFIX = ".vtt"


def render(transcript: Transcript, name: str, layout: CaptionLayout) -> str:
    """The header, then cues with an empty line before each."""
    return "WEBVTT\n" + "".join(
        f"\n{timestamp(cue.start, '.')} --> {timestamp(cue.end, '.')}\n"
        + "".join(f"{_escaped(x)}\n" for x in cue.lines)
        for cue in cues(transcript, layout)
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
