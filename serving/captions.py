"""Live captions as wav2edge's events: /v1/listen over WebSocket, /v1/streams/{id}/events as server-sent events.

The client's binary messages are samples. A text message ``{"type": "finish"}`` ends the sound; the last finals follow,
then ``{"event": "end"}``. Errors are ``{"event": "error", "message": …}``, after which the socket is closed; a
client that sends nothing for too long gets its last finals first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncGenerator
from typing import cast, get_args

from starlette.requests import Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..runtime.audio.raw import Encoding, RawFormat
from ..runtime.errors import InputError
from ..runtime.live import events
from .inbox import Inbox
from .refusals import Refused
from .requests import EventResponse, whole_number
from .service import Service
from .sockets import Feed, Outbox, conversation, note, send

_PARAMETERS = ("encoding", "model", "sample_rate")
_KEEP_ALIVE = 15.0  # seconds after which a quiet subscription gets a comment, so that proxies keep it open


async def listen(socket: WebSocket) -> None:
    """Caption the sound of one client."""
    service: Service = socket.app.state.service
    protocols = [name for name in socket.scope.get("subprotocols", ()) if name == "wav2edge"]
    await socket.accept(protocols[0] if protocols else None)
    client = socket.client.host if socket.client else "-"
    try:
        with service.stream_place(client):
            served = service.model(socket.query_params.get("model"))
            outbox = Outbox(service.limits)
            feed = Feed(service, served.live, outbox, _form(socket))
            name = secrets.token_hex(8)
            subscribers = service.subscribers[name] = set[Outbox]()
            problem: Refused | None = None
            try:
                began = json.dumps({"event": "begin", "stream": name, "model": served.name})
                await send(socket, began, service.limits)
                problem = await conversation(
                    socket,
                    service,
                    lambda: _take(socket, service, feed),
                    lambda: _give(socket, service, outbox, subscribers),
                    lambda error: json.dumps({"event": "error", "message": error.message}),
                )
            finally:
                feed.close()
                del service.subscribers[name]
                for each in subscribers:
                    each.ended(problem)
    except (Refused, InputError) as error:
        refused = error if isinstance(error, Refused) else Refused(400, str(error))
        with contextlib.suppress(Exception):
            await socket.send_text(json.dumps({"event": "error", "message": refused.message}))
            await socket.close(refused.close_code, refused.close_reason)
    except WebSocketDisconnect:
        pass


def _form(socket: WebSocket) -> RawFormat:
    for name in socket.query_params:
        if name not in _PARAMETERS:  # a misspelled rate would mean another one, and wrong words
            raise Refused(400, f"no parameter {name[:40]!r}; there are {', '.join(_PARAMETERS)}")
    encoding, rate = socket.query_params.get("encoding", "s16le"), socket.query_params.get("sample_rate", "16000")
    if encoding not in get_args(Encoding):
        raise Refused(400, f"encoding {encoding[:40]!r}: choose from {', '.join(get_args(Encoding))}")
    hertz = whole_number(rate)
    if hertz is None or not 4000 <= hertz <= 192_000:
        raise Refused(400, f"sample_rate {rate[:40]!r}: give Hz from 4000 to 192000")
    return RawFormat(cast(Encoding, encoding), hertz)


async def _take(socket: WebSocket, service: Service, feed: Feed) -> None:
    with Inbox(socket, service, feed.take) as inbox:
        while (message := await inbox.next()) is not None:
            if isinstance(message, bytes):
                await feed.push(message)
                if feed.is_longest:
                    break
            elif _is_finish(message):
                break
            else:
                raise Refused(400, 'a text message must be {"type": "finish"}; sound is sent in binary messages')
    feed.finish(inbox.idle or feed.too_long)


def _is_finish(message: str) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(message)
        return isinstance(values, dict) and values.get("type") == "finish"
    return False


async def _give(socket: WebSocket, service: Service, outbox: Outbox, subscribers: set[Outbox]) -> None:
    while True:
        found = await outbox.take()
        note(service, found)
        for event in found:
            for each in subscribers:
                each.emit((event,))
            await send(socket, events.to_line(event), service.limits)
        if outbox.done:
            if outbox.error is not None:
                if outbox.cut:
                    service.metrics.cut()
                raise outbox.error
            await send(socket, json.dumps({"event": "end"}), service.limits)
            return


async def subscribe(request: Request) -> EventResponse:
    """The events of a running stream, for further clients."""
    service: Service = request.app.state.service
    name = request.path_params["stream"]
    subscribers = service.subscribers.get(name)
    if subscribers is None:
        raise Refused(404, "no such stream, or it has ended")
    if len(subscribers) >= service.limits.subscribers:
        raise Refused(503, f"{len(subscribers)} others watch this stream already", retry=30)
    outbox, held = Outbox(service.limits), contextlib.AsyncExitStack()
    subscribers.add(outbox)
    held.callback(subscribers.discard, outbox)

    async def body() -> AsyncGenerator[str, None]:
        yield ": captions\n\n"
        while True:
            try:
                found = await asyncio.wait_for(outbox.take(), _KEEP_ALIVE)
            except asyncio.TimeoutError:
                yield ": nothing new\n\n"
                continue
            for event in found:
                yield f"event: {event.kind}\ndata: {events.to_line(event)}\n\n"
            if outbox.done:
                message = str(outbox.error) if outbox.error else ""
                yield f"event: end\ndata: {json.dumps({'event': 'end', 'message': message})}\n\n"
                return

    return EventResponse(body(), held)
