"""Clients that are slow, that vanish and that send nonsense, for benchmarks/serving.py --attack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from websockets.asyncio.client import connect

_HOST = b"Host: 127.0.0.1\r\n"
_UPLOAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\n" + _HOST
_FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"
_PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
_UPGRADE = (
    b"GET /v1/listen HTTP/1.1\r\n"
    + _HOST
    + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@dataclass
class Tally:
    """What was done to a server, and what it answered that it must not."""

    done: Counter[str] = field(default_factory=Counter)
    tracebacks: int = 0

    def note(self, kind: str, answer: bytes = b"") -> None:
        """Count one client, and look at its answer."""
        self.done[kind] += 1
        self.tracebacks += b"Traceback" in answer or b'File "' in answer


class Attack:
    """All of it against one server, until a time."""

    def __init__(self, address: str, seconds: float, clip: bytes, seed: int = 7) -> None:
        """address: of the server. clip: a recording's bytes. seed: of what is random."""
        self.address = address
        self.sockets = address.replace("http", "ws")
        host, port = address.split("//")[1].split(":")
        self._place = host, int(port)
        self._clip = clip
        self._random = random.Random(seed)
        self.until = time.monotonic() + seconds
        self.tally = Tally()

    async def run(self, slow: int, vanishing: int, malformed: int) -> None:
        """Run as many clients of each kind as are asked for, at the same time: the slow ones all along."""
        allow_many_files()
        seconds = self.until - time.monotonic()
        kinds = (self._slow_head, self._slow_body, self._silent, self._deaf)
        work = [self._again(kinds[number % len(kinds)]) for number in range(slow)]
        work += [
            self._spread(self._vanish, vanishing, seconds, 4),
            self._spread(self._nonsense, malformed, seconds, 16),
        ]
        await asyncio.gather(*work)

    async def _again(self, client: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(self._random.random() * 10)
        while time.monotonic() < self.until:
            with contextlib.suppress(Exception):  # refused, cut or closed: it comes again
                await client()
            await asyncio.sleep(1 + self._random.random())

    async def _spread(self, client: Callable[[], Awaitable[None]], count: int, seconds: float, at_once: int) -> None:
        """A number of clients, evenly over the time."""
        began, left = time.monotonic(), iter(range(count))

        async def some() -> None:
            for number in left:
                await asyncio.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
                with contextlib.suppress(Exception):
                    await client()

        await asyncio.gather(*(some() for _ in range(at_once)))

    # Slow clients.

    async def _slow_head(self) -> None:
        await self._trickle(_UPLOAD + b"X-Slow: " + b"x" * 100, 1)

    async def _slow_body(self) -> None:
        await self._trickle(b"\0" * 300, 10, _UPLOAD + _FORM + b"Content-Length: 100000\r\n\r\n" + _PART)

    async def _trickle(self, data: bytes, size: int, before: bytes = b"") -> None:
        """Send ``before`` at once, then so many bytes of the data every two seconds."""
        _, writer = await asyncio.open_connection(*self._place)
        try:
            writer.write(before)
            for at in range(0, len(data), size):
                writer.write(data[at : at + size])
                await writer.drain()
                await self._pause(2.0)
        finally:
            self.tally.note("slow")
            writer.close()

    async def _silent(self) -> None:
        async with connect(f"{self.sockets}/v1/realtime", open_timeout=30) as socket:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(socket.wait_closed(), max(0.1, min(40.0, self.until - time.monotonic())))
        self.tally.note("slow")

    async def _deaf(self) -> None:
        """Send sound and take no event."""
        _, writer = await asyncio.open_connection(*self._place)
        try:
            writer.write(_UPGRADE)
            for _ in range(40):
                writer.write(_frame(2, self._random.randbytes(3200)))
                await writer.drain()
                await self._pause(0.5)
        finally:
            self.tally.note("slow")
            writer.transport.abort()

    async def _pause(self, seconds: float) -> None:
        if time.monotonic() > self.until:
            raise TimeoutError
        await asyncio.sleep(seconds)

    # Clients that vanish.

    async def _vanish(self) -> None:
        _, writer = await asyncio.open_connection(*self._place)
        if self._random.random() < 0.5:
            body = _PART + self._clip + b"\r\n--x--\r\n"
            writer.write(_UPLOAD + _FORM + b"Content-Length: %d\r\n\r\n" % len(body))
            writer.write(body[: self._random.choice((len(body) // 2, len(body)))])
        else:
            writer.write(_UPGRADE + b"".join(_frame(2, b"\1\0" * 1600) for _ in range(20)))
        await writer.drain()
        await asyncio.sleep(self._random.random())
        writer.transport.abort()
        self.tally.note("vanished")

    # Nonsense.

    async def _nonsense(self) -> None:
        kind = self._random.randrange(4)
        noise = self._random.randbytes(self._random.randrange(1, 600))
        if kind == 0:
            await self._raw(
                self._random.choice((_UPLOAD, b"GET /", b"", _UPLOAD + _FORM + b"\r\n")) + noise + b"\r\n\r\n"
            )
        elif kind == 1:
            await self._raw(_UPGRADE + noise)
        elif kind == 2:
            body = _PART + noise + b"\r\n--x--\r\n"
            await self._raw(_UPLOAD + _FORM + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        else:
            await self._message(noise)

    async def _message(self, noise: bytes) -> None:
        """A message that is none, on a socket; the server may close it without an answer."""
        path = self._random.choice(("/v1/listen", "/v1/realtime"))
        answer: str | bytes = b""
        try:
            async with connect(self.sockets + path, open_timeout=30) as socket:
                await socket.send(self._random.choice((noise, noise.hex(), "{}", "[" * 500, json.dumps(
                    {"type": self._random.choice(_TYPES), "audio": noise.hex(), "session": noise.hex()}))))  # fmt: skip
                with contextlib.suppress(asyncio.TimeoutError):
                    answer = await asyncio.wait_for(socket.recv(), 0.3)
        finally:
            self.tally.note("malformed", answer.encode() if isinstance(answer, str) else answer)

    async def _raw(self, data: bytes) -> None:
        reader, writer = await asyncio.open_connection(*self._place)
        answer = b""
        try:
            writer.write(data)
            with contextlib.suppress(asyncio.TimeoutError):
                answer = await asyncio.wait_for(reader.read(4000), 0.3)
        finally:
            self.tally.note("malformed", answer)
            writer.transport.abort()


def attacked(address: str, seconds: float, clip: bytes, slow: int, vanishing: int, malformed: int) -> Tally:
    """Run an attack, in a process of its own so that healthy clients do not wait for the others."""
    made = Attack(address, seconds, clip)
    asyncio.run(made.run(slow, vanishing, malformed))
    return made.tally


_TYPES = ("session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "response.create", "finish")


def _frame(kind: int, data: bytes) -> bytes:
    """A client's frame of a socket, its mask all zeros (RFC 6455, 5.2)."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
    return bytes([0x80 | kind]) + length + b"\0\0\0\0" + data


def allow_many_files() -> None:
    """Raise the soft bound on open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
