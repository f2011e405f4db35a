"""Check the messages of OpenAI's realtime clients, and convert them to settings of the model."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping

from ..runtime.audio.raw import RawFormat
from ..runtime.live.transcriber import LiveTranscriber
from .refusals import Refused

Json = Mapping[str, object]
FORMATS = {"audio/pcm": RawFormat("s16le", 24_000), "audio/pcmu": RawFormat("mulaw", 8000),
            "audio/pcma": RawFormat("alaw", 8000)}  # fmt: skip
"""The formats of sound, by the names that clients use."""

_SOUND_BYTES = 15 << 20  # of one append, as OpenAI's API
_LEAST_SILENCE = 200.0  # ms; shorter pauses are inside of words


@dataclasses.dataclass(frozen=True)
class Turns:
    """The client's settings of when an utterance begins and ends."""

    threshold: float = 0.5
    silence_ms: float = 500.0
    padding_ms: float = 300.0


def parsed(message: str | bytes) -> Json:
    """A message as an object; raises Refused for anything else."""
    try:
        values = json.loads(message)
    except (ValueError, RecursionError):
        raise Refused(400, "a message must be one JSON object") from None
    if not isinstance(values, dict):
        raise Refused(400, "a message must be one JSON object")
    return values


def object_of(values: Json, name: str) -> Json:
    """A field that is an object, empty where it was left out; raises Refused for anything else."""
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Refused(400, f"{name} must be an object", param=name)
    return found


def sound_of(value: object) -> bytes:
    """The bytes of base64 text; raises Refused for anything else."""
    if not isinstance(value, str):
        raise Refused(400, "audio must be base64 text", param="audio")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "audio is not valid base64", param="audio") from None
    if len(data) > _SOUND_BYTES:
        raise Refused(400, "an append may hold 15 MiB of sound; send it in several", param="audio")
    return data


def checked_session(session: Json) -> None:
    """Raise Refused for what a session cannot be: another type than transcription, or further fields of the items."""
    if session.get("type", "transcription") != "transcription":
        raise Refused(400, "this server transcribes; session.type must be 'transcription'", param="session.type")
    if session.get("include"):
        raise Refused(400, "nothing can be included here; logprobs are in transcripts of recordings", param="include")


def turns_of(value: object) -> Turns | None:
    """``turn_detection``, None where the client alone commits; raises Refused for anything else.

    A shorter silence than 200 ms becomes 200 ms.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("type") not in ("server_vad", "semantic_vad"):
        raise Refused(400, "turn_detection must be null or of type server_vad", param="turn_detection")

    def number(name: str, default: float, most: float) -> float:
        found = value.get(name)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= most:
            raise Refused(400, f"{name} must be a number from 0 to {most:g}", param=name)
        return float(found)

    silence = max(_LEAST_SILENCE, number("silence_duration_ms", 500, 10_000))
    return Turns(number("threshold", 0.5, 1), silence, number("prefix_padding_ms", 300, 5000))


def tuned(live: LiveTranscriber, turns: Turns) -> LiveTranscriber:
    """The same model with a client's turn detection. The pre-roll stays: models lose words with less (LiveSettings)."""
    settings = live.settings
    silence = turns.silence_ms / 1000
    endpoint = dataclasses.replace(settings.endpoint, silence_after_text=silence)
    vad = dataclasses.replace(settings.vad, threshold=turns.threshold)
    ahead = min(settings.ahead, silence / 2)
    return LiveTranscriber(
        live.model,
        dataclasses.replace(settings, endpoint=endpoint, vad=vad, ahead=ahead),
        decoder=live.decode_words,
        segmentation=live.segmentation,
        chunking=live.chunking,
        loop=live.loop,
        vad=live.vad,
    )
