"""One JSON object a line for each recording: a MANIFEST that evaluate, quantize and other tools read back.

``path`` is absolute, because a manifest's paths are relative to wherever it comes to lie.
"""

from __future__ import annotations

import json
import os

from ..transcript import Transcript
from . import Layout, printable
from .json import document

SUFFIX = ".jsonl"


def render(transcript: Transcript, name: str, layout: Layout) -> str:
    """The line."""
    values = document(transcript, name)
    head = {"path": printable(os.path.abspath(name)), "text": transcript.text, "seconds": values["duration"]}
    head |= {"channel": transcript.channel} if transcript.channel != "mix" else {}
    return (
        json.dumps({**head, "language": values["language"], "segments": values["segments"]}, ensure_ascii=False) + "\n"
    )
