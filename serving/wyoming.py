"""Wyoming over TCP, as Home Assistant speaks it: a line of JSON, then data, then a payload.

describe → info; transcribe, audio-start, audio-chunk …, audio-stop → transcript-start, transcript-chunk for each
utterance that ends, transcript with the whole text, transcript-stop. The text of an utterance is its final pass's.
(Protocol of the package ``wyoming`` 1.10, read in its source; nothing of it is needed here.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Literal

from .. import __version__
from ..runtime.audio.raw import Encoding, RawFormat
from ..runtime.heads import ctc
from ..runtime.live.events import Event, Final
from .guard import DRAINED_BYTES, DRAINED_SECONDS
from .listening import listening
from .refusals import Refused, refusal
from .service import Service
from .sockets import Feed, Outbox, note

Json = Mapping[str, object]
_LINE = 64 * 1024
_DATA = 1 << 20
_ENCODINGS: dict[int, Encoding] = {2: "s16le"}


class WyomingServer:
    """Serves the protocol beside HTTP; ``serve`` runs until it is cancelled."""

    def __init__(self, host: str, port: int) -> None:
        """Take the port, 0 for a free one; raises InputError where that cannot be.

        The protocol has no token: on an address that other machines reach, they may use the server.
        """
        self._socket = listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self, service: Service) -> None:
        """Take connections."""
        server = await asyncio.start_server(
            lambda reader, writer: self._client(service, reader, writer), sock=self._socket, limit=_LINE
        )
        try:
            await asyncio.get_running_loop().create_future()  # until it is cancelled
        finally:  # serve_forever waits for the clients since Python 3.12, and one may stay connected for ever
            server.close()
            for task in self._clients:
                task.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= service.limits.connections:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        peer = writer.get_extra_info("peername")
        connection = _Connection(service, reader, writer, str(peer[0]) if peer else "-")
        try:
            await self._talk(service, connection)
            await connection.drained()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server ends
        finally:
            connection.close()
            await connection.closed()

    async def _talk(self, service: Service, connection: _Connection) -> None:
        try:
            await connection.run()
        except (ConnectionError, asyncio.IncompleteReadError):
            raise
        except Exception as error:
            problem = refusal(error)
            if problem.status == 500:
                service.log.exception("a Wyoming client's connection failed")
            connection.close()
            with contextlib.suppress(Exception):
                await connection.send("error", {"text": problem.message, "code": problem.code or str(problem.status)})


class _Connection:
    def __init__(
        self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str
    ) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._client = client
        self._asked = self._served = service.model(None)  # of the next recording, and of the running one
        self._feed: Feed | None = None
        self._format: Json = {}  # as the recording's first message states it
        self._is_full = False  # whether a recording reached its longest, and its audio-stop has not come
        self._outbox = Outbox(service.limits)
        self._place = contextlib.ExitStack()
        self._giving: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer messages until the client disconnects or the server stops.

        Where it sends nothing for too long, or the server stops, its recording ends with a transcript; raises Refused
        for the former.
        """
        stop = asyncio.ensure_future(self._service.stopping.wait())
        try:
            while (message := await self._unless(stop)) is not None:
                await self._message(*message)
        except _Idle:
            await self._finish()
            raise
        finally:
            stop.cancel()
        if self._service.stopping.is_set():
            await self._finish()

    async def drained(self) -> None:
        """Read on for a while: a client that is still sending would get a broken connection, not the last message."""

        async def read() -> None:
            taken = 0
            while taken < DRAINED_BYTES and (data := await self._reader.read(_LINE)):
                taken += len(data)

        if self._writer.can_write_eof():
            self._writer.write_eof()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(read(), DRAINED_SECONDS)

    async def closed(self) -> None:
        """Close the connection; what the client does not take for too long is left unsent."""
        self._writer.close()
        try:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._writer.wait_closed(), self._service.limits.stalled_seconds)
        finally:
            self._writer.transport.abort()

    def close(self) -> None:
        """Release what an unfinished recording holds."""
        if self._giving is not None:
            self._giving.cancel()
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        self._place.close()

    async def send(self, kind: str, data: Json) -> None:
        """Send one message; raises Refused where the client does not take it."""
        body = json.dumps(data, ensure_ascii=False).encode()
        head = {"type": kind, "version": "1.10.2", "data_length": len(body)}
        self._writer.write(json.dumps(head).encode() + b"\n" + body)
        try:
            await asyncio.wait_for(self._writer.drain(), self._service.limits.stalled_seconds)
        except asyncio.TimeoutError:
            raise Refused(408, "this client takes no events") from None

    async def _unless(self, stop: asyncio.Task[Literal[True]]) -> tuple[str, Json, bytes] | None:
        """``_next``, or None once ``stop`` is done."""
        if stop.done():
            return None
        reading = asyncio.ensure_future(self._next())
        try:
            await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else None
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait((reading,))

    async def _next(self) -> tuple[str, Json, bytes] | None:
        """The next message; None at the connection's end. A quiet client may stay connected between recordings."""
        limit = self._service.limits.idle_seconds if self._feed is not None else None
        try:
            line = await asyncio.wait_for(self._reader.readline(), limit)
            if not line:
                return None
            head = _object(line)
            data = dict(_mapping(head.get("data")))
            if count := _count(head, "data_length"):
                data.update(_object(await asyncio.wait_for(self._reader.readexactly(count), limit)))
            payload = b""
            if count := _count(head, "payload_length"):
                payload = await asyncio.wait_for(self._reader.readexactly(count), limit)
        except asyncio.TimeoutError:
            raise _Idle(408, f"nothing came for {limit:g} s; the recording is over") from None
        except ValueError:
            raise Refused(400, "a message must be one line of JSON, at most 64 KB") from None
        return str(head.get("type")), data, payload

    async def _message(self, kind: str, data: Json, payload: bytes) -> None:
        if kind == "describe":
            await self.send("info", self._info())
        elif kind == "ping":
            await self.send("pong", data)
        elif kind == "transcribe":
            name = data.get("name")
            self._asked = self._service.model(str(name) if name else None)
        elif kind == "audio-start":
            self.close()  # a recording without audio-stop is dropped: a client that starts anew awaits one transcript
            self._begin(data)
        elif kind == "audio-chunk":
            self._begin(data)
            self._refuse_another_model()
            assert self._feed is not None
            self._feed.change(_form({**self._format, **data}))  # each chunk states the form of its samples
            await self._feed.push(payload)
            if self._feed.is_longest:
                await self._end()
                self._is_full = True
        elif kind == "audio-stop" and not self._is_full:
            self._refuse_another_model()
            await self._end()
        elif kind == "audio-stop":
            self._is_full = False
        # Other events of the protocol are for other services; they are ignored, as the protocol's servers do.

    def _begin(self, data: Json) -> None:
        if self._feed is not None:
            return
        form = _form(data)
        self._format, self._is_full, self._served = data, False, self._asked
        self._place.enter_context(self._service.stream_place(self._client))
        self._outbox = Outbox(self._service.limits)
        self._feed = Feed(self._service, self._served.live, self._outbox, form)
        self._giving = asyncio.ensure_future(self._give())

    def _refuse_another_model(self) -> None:
        if self._feed is not None and self._asked is not self._served:
            raise Refused(
                400,
                f"transcribe asks for {self._asked.name} in the middle of a recording for {self._served.name}; "
                "send it before audio-start",
            )

    async def _give(self) -> None:
        """Send the text of each utterance as it ends, then the whole."""
        texts: list[str] = []
        gap = ctc.gap(self._served.model.spec)
        await self.send("transcript-start", {"language": self._served.model.spec.language})
        while True:
            events: list[Event] = await self._outbox.take()
            note(self._service, events)
            for event in events:
                if isinstance(event, Final) and event.text:
                    await self.send("transcript-chunk", {"text": gap + event.text if texts else event.text})
                    texts.append(event.text)
            if self._outbox.done:
                if self._outbox.error is not None:
                    raise self._outbox.error
                break
        await self.send("transcript", {"text": gap.join(texts), "language": self._served.model.spec.language})
        await self.send("transcript-stop", {})

    async def _end(self) -> None:
        if self._feed is None:
            raise Refused(400, "audio-stop without audio-start")
        await self._finish()
        self.close()

    async def _finish(self) -> None:
        """End the recording, if there is one, and send its transcript."""
        if self._feed is not None and self._giving is not None:
            self._feed.finish()
            await self._giving

    def _info(self) -> Json:
        attribution = {"name": "wav2edge", "url": ""}
        models = [
            {
                "name": each.name, "description": f"{each.model.spec.architecture}, {each.model.variant.name}",
                "attribution": attribution, "installed": True, "version": None,
                "languages": [each.model.spec.language or "en"],
            }
            for each in self._service.catalogue.models
        ]  # fmt: skip
        program = {
            "name": "wav2edge", "description": "Wav2Vec 2.0 family models", "attribution": attribution,
            "installed": True, "version": __version__, "models": models,
            "supports_transcript_streaming": True, "requires_external_vad": False,
        }  # fmt: skip
        return {"asr": [program], "tts": [], "handle": [], "intent": [], "wake": [], "mic": [], "snd": []}


class _Idle(Refused):
    pass


def _object(text: bytes) -> Json:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(400, "a message must be one JSON object") from None
    return _mapping(values)


def _mapping(values: object) -> Json:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Refused(400, "a message must be one JSON object")
    return values


def _count(head: Json, name: str) -> int:
    value = head.get(name) or 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _DATA:
        raise Refused(400, f"{name} must be a number of bytes up to {_DATA}")
    return value


def _form(data: Json) -> RawFormat:
    width, rate, channels = (_number(data, name) for name in ("width", "rate", "channels"))
    if width not in _ENCODINGS:
        raise Refused(400, f"samples of {width} bytes; send 16-bit samples (width 2)")
    return RawFormat(_ENCODINGS[width], rate, channels)


def _number(data: Json, name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(400, f"{name} must be a whole number")
    return value
