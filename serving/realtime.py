"""/v1/realtime: OpenAI's realtime transcription over WebSocket, for its clients.

With ``turn_detection`` (the default) utterances end as in live captions; ``delta`` has the words that later deltas do
not change, ``completed`` the text of the final pass. Without it the client commits, and each commit is one item.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..runtime.errors import InputError
from ..runtime.live.events import Event, Final, Partial
from ..runtime.live.sources import RATE
from .inbox import Inbox
from .models import ServedModel
from .realtime_messages import FORMATS, Json, Turns, object_of, parsed, sound_of, tuned, turns_of
from .refusals import Refused
from .service import Service
from .sockets import Conversion, Feed, Outbox, conversation, note, send

_LONGEST_ITEM = 600.0  # seconds of sound that wait for a client's commit


async def realtime(socket: WebSocket) -> None:
    """Serve one session."""
    service: Service = socket.app.state.service
    await socket.accept("realtime" if "realtime" in socket.scope.get("subprotocols", ()) else None)
    client = socket.client.host if socket.client else "-"
    try:
        with service.stream_place(client):
            session = _Session(socket, service, _asked(service, socket.query_params.get("model")))
            try:
                await session.say("session.created", session=session.described())
                await conversation(socket, service, session.take, session.give, _error)
            finally:
                session.close()
    except (Refused, InputError) as error:
        problem = error if isinstance(error, Refused) else Refused(400, str(error))
        with contextlib.suppress(Exception):
            await socket.send_text(_error(problem))
            await socket.close(problem.close_code, problem.message[:120])
    except WebSocketDisconnect:
        pass


def _asked(service: Service, name: str | None) -> ServedModel:
    return service.model(name)


def _error(problem: Refused) -> str:
    return json.dumps({"type": "error", "event_id": _id("event"), "error": {**problem.body()["error"]}})


def _id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(8)}"


class _Session:
    def __init__(self, socket: WebSocket, service: Service, served: ServedModel) -> None:
        self.socket = socket
        self.service = service
        self.served = served
        self.name = _id("sess")
        self.format = "audio/pcm"
        self.turns: Turns | None = Turns()
        self.outbox = Outbox(service.limits)
        self.feed: Feed | None = None
        self.item = ""  # the item of the utterance that is running
        self.before: str | None = None
        self.said = ""  # its text in deltas so far
        self._buffered: list[NDArray[np.float32]] = []
        self._convert: Conversion | None = None

    def close(self) -> None:
        """End at once."""
        if self.feed is not None:
            self.feed.close()

    async def say(self, kind: str, **values: object) -> None:
        """Send one event."""
        await send(self.socket, json.dumps({"type": kind, "event_id": _id("event"), **values}), self.service.limits)

    def described(self) -> Json:
        """The session, in the API's form."""
        turns: Json | None = None
        if self.turns is not None:
            turns = {
                "type": "server_vad",
                "threshold": self.turns.threshold,
                "silence_duration_ms": self.turns.silence_ms,
                "prefix_padding_ms": self.turns.padding_ms,
            }
        form: dict[str, object] = {"type": self.format}
        if self.format == "audio/pcm":
            form["rate"] = 24_000
        audio = {"input": {"format": form, "transcription": {"model": self.served.name}, "turn_detection": turns,
                           "noise_reduction": None}}  # fmt: skip
        return {"type": "transcription", "object": "realtime.transcription_session", "id": self.name, "audio": audio}

    # What the client sends.

    async def take(self) -> None:
        """Take messages until the client disconnects or the server stops."""
        with Inbox(self.socket, self.service) as inbox:
            while (message := await inbox.next()) is not None:
                try:
                    await self._message(parsed(message))
                except Refused as error:  # as OpenAI's server: sent, and the session continues
                    if error.status == 408:
                        raise
                    await send(self.socket, _error(error), self.service.limits)
                if self.feed is not None and self.feed.is_longest:
                    break
        if self.feed is not None:
            self.feed.finish()
        else:
            self.outbox.ended(None)

    async def _message(self, values: Json) -> None:
        kind = values.get("type")
        if kind == "session.update":
            self._update(object_of(values, "session"))
            await self.say("session.updated", session=self.described())
        elif kind == "input_audio_buffer.append":
            await self._append(sound_of(values.get("audio")))
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            self._discard()
            await self.say("input_audio_buffer.cleared")
        else:
            raise Refused(400, f"this server does not know the event {str(kind)[:60]!r}", param="type")

    def _update(self, session: Json) -> None:
        if session.get("type", "transcription") != "transcription":
            raise Refused(400, "this server transcribes; session.type must be 'transcription'", param="session.type")
        given = object_of(object_of(session, "audio"), "input")
        form = object_of(given, "format")
        if form:
            kind = str(form.get("type"))
            if kind not in FORMATS:
                raise Refused(400, f"format {kind[:40]!r}: choose from {', '.join(FORMATS)}", param="format")
            if kind == "audio/pcm" and form.get("rate", 24_000) != 24_000:
                raise Refused(400, "audio/pcm has a rate of 24000 Hz here", param="format.rate")
        transcription = object_of(given, "transcription")
        served = self.served
        if transcription.get("model"):
            served = self.service.model(str(transcription["model"]))
        turns = turns_of(given["turn_detection"]) if "turn_detection" in given else self.turns
        changed = served is not self.served or turns != self.turns or (form and form["type"] != self.format)
        if changed and (self.feed is not None or self._buffered):
            raise Refused(400, "the session has begun; set format, model and turn_detection before the first sound")
        self.served, self.turns = served, turns
        self.format = str(form["type"]) if form else self.format

    async def _append(self, data: bytes) -> None:
        form = FORMATS[self.format]
        if self.turns is not None:
            if self.feed is None:
                self.feed = Feed(self.service, tuned(self.served.live, self.turns), self.outbox, form)
            await self.feed.push(data)
            return
        self._convert = self._convert or Conversion(form)
        self._buffered.append(self._convert(data))
        if sum(map(len, self._buffered)) > _LONGEST_ITEM * RATE:
            self._discard()
            raise Refused(400, f"more than {_LONGEST_ITEM:g} s without a commit; they were discarded")

    def _discard(self) -> None:
        """Forget the sound without a commit; the next may be of another format."""
        self._buffered.clear()
        self._convert = None

    async def _commit(self) -> None:
        if self.turns is not None:
            raise Refused(400, "turn_detection commits; set it to null to commit yourself")
        if self._convert is not None:
            self._buffered.append(self._convert.flush())
        samples = np.concatenate(self._buffered) if self._buffered else np.zeros(0, np.float32)
        self._discard()
        if len(samples) < self.served.model.spec.min_samples:
            raise Refused(400, "there is too little sound to commit", code="input_audio_buffer_commit_empty")
        item = await self._committed()
        transcriber = self.served.transcriber
        decoding = transcriber.decoding()
        for chunk in transcriber.chunks(transcriber.open_recording(samples, RATE)):
            future = self.service.scheduler.submit(transcriber, chunk, 0.0)
            found = decoding.push(chunk, await asyncio.wrap_future(future))
            for segment in found:
                await self._delta(item, f" {segment.text}" if self.said else segment.text)
        self.service.metrics.received("streams", len(samples) / RATE)
        await self._completed(item, decoding.transcript().text, len(samples) / RATE)

    # What the server sends.

    async def give(self) -> None:
        """Send the events of the sound."""
        while True:
            found = await self.outbox.take()
            note(self.service, found)
            for event in found:
                await self._event(event)
            if self.outbox.over:
                if self.outbox.error is not None:
                    raise self.outbox.error
                return

    async def _event(self, event: Event) -> None:
        if not isinstance(event, (Partial, Final)):
            return
        if not self.item:
            self.item, self.said = _id("item"), ""
            await self.say(
                "input_audio_buffer.speech_started", item_id=self.item, audio_start_ms=round(event.start * 1000)
            )
        if isinstance(event, Partial):
            if event.stable.startswith(self.said) and len(event.stable) > len(self.said):
                await self._delta(self.item, event.stable[len(self.said) :])
            return
        item = self.item
        await self.say("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=round(event.end * 1000))
        await self._committed()
        if event.text.startswith(self.said) and len(event.text) > len(self.said):
            await self._delta(item, event.text[len(self.said) :])
        await self._completed(item, event.text, event.end - event.start)

    async def _committed(self) -> str:
        item = self.item or _id("item")
        self.item = item
        await self.say("input_audio_buffer.committed", item_id=item, previous_item_id=self.before)
        content = [{"type": "input_audio", "transcript": None}]
        described = {"id": item, "type": "message", "role": "user", "status": "completed", "content": content}
        await self.say("conversation.item.added", item=described, previous_item_id=self.before)
        self.before = item
        return item

    async def _delta(self, item: str, text: str) -> None:
        self.said += text
        await self.say("conversation.item.input_audio_transcription.delta", item_id=item, content_index=0, delta=text)

    async def _completed(self, item: str, text: str, seconds: float) -> None:
        await self.say(
            "conversation.item.input_audio_transcription.completed",
            item_id=item, content_index=0, transcript=text,
            usage={"type": "duration", "seconds": round(seconds, 3)},
        )  # fmt: skip
        self.item, self.said = "", ""
