"""One JSON document with the fields of whisper's .json and of OpenAI's ``verbose_json``.

Fields that only Whisper has (seek, tokens, temperature, compression_ratio, no_speech_prob) are left out.
"""

from __future__ import annotations

import json
import math
from typing import Any

from ..transcript import Segment, Transcript, Word
from . import Layout, printable

SUFFIX = ".json"


def render(transcript: Transcript, name: str, layout: Layout) -> str:
    """The document, indented."""
    return json.dumps(document(transcript, name), ensure_ascii=False, indent=2) + "\n"


def document(transcript: Transcript, name: str) -> dict[str, Any]:
    """The transcript as plain JSON values; times in seconds, ``probability`` in (0, 1]."""
    return {
        "task": "transcribe",
        "file": printable(name),
        **({} if transcript.channel == "mix" else {"channel": transcript.channel}),
        "language": transcript.language,
        "duration": round(transcript.seconds, 3),
        "complete": transcript.complete,
        "warnings": list(transcript.warnings),
        "text": transcript.text,
        "segments": [_segment(number, segment) for number, segment in enumerate(transcript.segments)],
        "words": [_word(word) for word in transcript.words],
    }


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    logs = [math.log(max(word.confidence, 1e-6)) for word in segment.words]
    return {
        "id": number,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "avg_logprob": round(sum(logs) / len(logs), 4) if logs else 0.0,
        "words": [_word(word) for word in segment.words],
    }


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.text, "start": word.start, "end": word.end, "probability": word.confidence}
