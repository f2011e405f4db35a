"""The items of a realtime session, as OpenAI's API names them: each is an utterance, or what the client committed."""

from __future__ import annotations

import json
import secrets

from starlette.websockets import WebSocket

from ..runtime.live.events import Final, Partial
from .limits import Limits
from .sockets import send


def identity(kind: str) -> str:
    """A new id of an event, an item or a session."""
    return f"{kind}_{secrets.token_hex(8)}"


class Items:
    """Sends a session's items, one after the other.

    item: the id of the one that is running, empty between two. said: its text in deltas so far. until: where the last
    utterance ended, s of the session.
    """

    def __init__(self, socket: WebSocket, limits: Limits) -> None:
        """limits: how long the client may take to receive an event."""
        self.item = ""
        self.said = ""
        self.until = 0.0
        self._socket = socket
        self._limits = limits
        self._before: str | None = None

    async def say(self, kind: str, **values: object) -> None:
        """Send one event."""
        await send(self._socket, json.dumps({"type": kind, "event_id": identity("event"), **values}), self._limits)

    async def add(self, event: Partial | Final, offset: float) -> None:
        """Send what an event says of its utterance; offset: where its stream began, s of the session."""
        if not self.item:
            self.item, self.said = identity("item"), ""
            began = round((offset + event.start) * 1000)
            await self.say("input_audio_buffer.speech_started", item_id=self.item, audio_start_ms=began)
        text = event.stable if isinstance(event, Partial) else event.text
        more = text[len(self.said) :] if text.startswith(self.said) else ""
        if isinstance(event, Final):
            self.until = offset + event.end
            await self.say(
                "input_audio_buffer.speech_stopped", item_id=self.item, audio_end_ms=round(self.until * 1000)
            )
            await self.commit()
        if more:
            await self.delta(more)
        if isinstance(event, Final):
            await self.complete(event.text, event.end - event.start)

    def forget(self) -> None:
        """Leave the running item without a text."""
        self.item, self.said = "", ""

    async def commit(self) -> None:
        """Say that the sound of the running item is complete; without one, of a new one."""
        self.item = item = self.item or identity("item")
        await self.say("input_audio_buffer.committed", item_id=item, previous_item_id=self._before)
        content = [{"type": "input_audio", "transcript": None}]
        described = {"id": item, "type": "message", "role": "user", "status": "completed", "content": content}
        await self.say("conversation.item.added", item=described, previous_item_id=self._before)
        self._before = item

    async def delta(self, text: str) -> None:
        """Send further text of the running item."""
        self.said += text
        await self.say(
            "conversation.item.input_audio_transcription.delta", item_id=self.item, content_index=0, delta=text
        )

    async def complete(self, text: str, seconds: float) -> None:
        """Send the whole text of the running item, which ends it; seconds: of its sound."""
        await self.say(
            "conversation.item.input_audio_transcription.completed",
            item_id=self.item, content_index=0, transcript=text,
            usage={"type": "duration", "seconds": round(seconds, 3)},
        )  # fmt: skip
        self.forget()
