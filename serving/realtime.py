"""/v1/realtime: OpenAI's realtime transcription over WebSocket, for its clients.

With ``turn_detection`` (the default) utterances end as in live captions, and where the client commits; ``delta`` has
the words that later deltas do not change, ``completed`` the text of the final pass. Without it each commit is one item.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..runtime.errors import InputError
from ..runtime.heads import ctc
from ..runtime.live.events import Event, Final, Partial
from ..runtime.live.sources import RATE
from .inbox import Inbox
from .models import ServedModel
from .realtime_items import Items, identity
from .realtime_messages import FORMATS, Json, Turns, checked_session, object_of, parsed, sound_of, tuned, turns_of
from .refusals import Refused
from .requests import check_language
from .service import Service
from .sockets import Conversion, Feed, Outbox, conversation, note, second_bytes, seconds_of, send

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
                await session.items.say("session.created", session=session.described())
                await conversation(socket, service, session.take, session.give, _error)
            finally:
                session.close()
    except (Refused, InputError) as error:
        problem = error if isinstance(error, Refused) else Refused(400, str(error))
        with contextlib.suppress(Exception):
            await socket.send_text(_error(problem))
            await socket.close(problem.close_code, problem.close_reason)
    except WebSocketDisconnect:
        pass


def _asked(service: Service, name: str | None) -> ServedModel:
    return service.model(name)


def _error(problem: Refused) -> str:
    return json.dumps({"type": "error", "event_id": identity("event"), "error": {**problem.body()["error"]}})


@dataclass
class _Ending:
    """A feed that is ended while the session goes on; ``done`` once all its events were sent."""

    discards: bool
    done: asyncio.Future[None]
    answered: bool = False  # by the item of an utterance


class _Session:
    def __init__(self, socket: WebSocket, service: Service, served: ServedModel) -> None:
        self.socket = socket
        self.service = service
        self.served = served
        self.name = identity("sess")
        self.format = "audio/pcm"
        self.turns: Turns | None = Turns()
        self.outbox = Outbox(service.limits)
        self.items = Items(socket, service.limits)
        self.feed: Feed | None = None
        self._began = 0.0  # where the feed began, s of the session
        self._ending: _Ending | None = None
        self._buffered: list[NDArray[np.float32]] = []
        self._buffered_seconds = 0.0
        self._convert: Conversion | None = None

    def close(self) -> None:
        """End at once."""
        if self.feed is not None:
            self.feed.close()

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
        """Take messages until the client disconnects or sends nothing for too long, or the server stops."""
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
            self.feed.finish(inbox.idle or self.feed.too_long)
        else:
            self.outbox.ended(inbox.idle)

    async def _message(self, values: Json) -> None:
        kind = values.get("type")
        if kind == "session.update":
            self._update(object_of(values, "session"))
            await self.items.say("session.updated", session=self.described())
        elif kind == "input_audio_buffer.append":
            await self._append(sound_of(values.get("audio")))
        elif kind == "input_audio_buffer.commit":
            await (self._commit() if self.turns is None else self._commit_utterance())
        elif kind == "input_audio_buffer.clear":
            if self.feed is not None:
                await self._end_feed(discards=True)
            self._discard()
            await self.items.say("input_audio_buffer.cleared")
        else:
            raise Refused(400, f"this server does not know the event {str(kind)[:60]!r}", param="type")

    def _update(self, session: Json) -> None:
        checked_session(session)
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
        if transcription.get("language"):
            check_language(served, str(transcription["language"]))
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
                self.feed = Feed(self.service, tuned(self.served.live, self.turns), self.outbox, form, self._began)
            await self.feed.push(data)
            return
        self._buffered_seconds += len(data) / second_bytes(form)
        if self._buffered_seconds > _LONGEST_ITEM:
            self._discard()
            raise Refused(400, f"more than {_LONGEST_ITEM:g} s without a commit; they were discarded")
        self._convert = self._convert or Conversion(form)
        for piece in seconds_of(form, data):
            self._buffered.append(self._convert(piece))
            await asyncio.sleep(0)  # other clients' messages

    def _discard(self) -> None:
        """Forget the sound without a commit; the next may be of another format."""
        self._buffered.clear()
        self._buffered_seconds = 0.0
        self._convert = None

    async def _end_feed(self, discards: bool) -> bool:
        """End the running utterance and send its item, or forget it; whether an utterance's item was sent."""
        assert self.feed is not None
        self._ending = ending = _Ending(discards, asyncio.get_running_loop().create_future())
        if discards:
            self.feed.discard()
        else:
            self.feed.finish()
        await ending.done
        self.feed.close()
        self._began += self.feed.seconds
        self._ending = self.feed = None
        self.items.forget()
        return ending.answered

    async def _commit_utterance(self) -> None:
        """End the running utterance of turn detection; a commit without speech is an item without text."""
        came = self._began + (self.feed.seconds if self.feed is not None else 0.0)
        since = max(self._began, self.items.until)
        if self.feed is None or (came - since < self.served.model.spec.min_samples / RATE and not self.items.item):
            raise Refused(400, "there is too little sound to commit", code="input_audio_buffer_commit_empty")
        if not await self._end_feed(discards=False):
            await self.items.commit()
            await self.items.complete("", came - since)

    async def _commit(self) -> None:
        """Transcribe the sound since the last commit as a recording."""
        if self._convert is not None:
            self._buffered.append(self._convert.flush())
        samples = np.concatenate(self._buffered) if self._buffered else np.zeros(0, np.float32)
        self._discard()
        if len(samples) < self.served.model.spec.min_samples:
            raise Refused(400, "there is too little sound to commit", code="input_audio_buffer_commit_empty")
        await self.items.commit()
        transcriber = self.served.transcriber
        decoding, gap = transcriber.decoding(), ctc.gap(transcriber.spec)
        for chunk in transcriber.chunks(transcriber.open_recording(samples, RATE)):
            future = self.service.scheduler.submit(transcriber, chunk, 0.0)
            found = decoding.push(chunk, await asyncio.wrap_future(future))
            for segment in found:
                await self.items.delta(gap + segment.text if self.items.said else segment.text)
        self.service.metrics.received("streams", len(samples) / RATE)
        await self.items.complete(decoding.transcript().text, len(samples) / RATE)

    # What the server sends.

    async def give(self) -> None:
        """Send the events of the sound."""
        while True:
            outbox = self.outbox
            found = self._kept(await outbox.take())
            note(self.service, found)
            for event in found:
                if isinstance(event, (Partial, Final)):
                    await self.items.add(event, self._began)
            if outbox.done:
                if outbox.error is not None:
                    raise outbox.error
                if self._ending is None:
                    return
                self.outbox = Outbox(self.service.limits)
                self._ending.done.set_result(None)

    def _kept(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events without those of an utterance that the client cleared."""
        if self._ending is None:
            return events
        if self._ending.discards:
            return [event for event in events if not isinstance(event, Partial) and not _is_cut(event)]
        self._ending.answered |= any(isinstance(event, Final) for event in events)
        return events


def _is_cut(event: Event) -> bool:
    """Whether it is the Final of an utterance that the end of its stream ended."""
    return isinstance(event, Final) and event.reason == "end"
