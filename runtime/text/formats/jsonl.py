"""One line of JSON for each recording: a MANIFEST for evaluate, quantize and other tools.

``path`` is absolute, because a manifest's relative paths are relative to its own folder.
"""

from __future__ import annotations

import os

from ..transcript import Transcript
from . import CaptionLayout, printable
from .json import document, dumped

SUFFIX = ".jsonl"


def render(transcript: Transcript, name: str, layout: CaptionLayout) -> str:
    """The line."""
    values = document(transcript, name)
    head = {"path": printable(os.path.abspath(name)), "text": transcript.text, "seconds": values["duration"]}
    head |= {"offset": transcript.offset} if transcript.offset is not None else {}
    head |= {"channel": transcript.channel} if transcript.channel != "mix" else {}
    rest = {name: values[name] for name in ("language", "complete", "warnings", "segments")}
    return dumped({**head, **rest}) + "\n"
