"""Checks that every request passes first: token, origin, size; and the log of requests."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import ipaddress
import json
import logging
import re
import time
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..runtime.errors import InputError
from .limits import Limits
from .refusals import Refused
from .service import Service

PROTOCOL_TOKEN = "openai-insecure-api-key."
"""The prefix of the token among the subprotocols of a browser's socket, which cannot set headers."""

ENCODED_TOKEN = "wav2edge-token."
"""The prefix of the token's UTF-8 in base64url, for tokens with characters that no subprotocol may have.

A subprotocol's characters are those of RFC 6455, section 4.1; padding (``=``) is left out.
"""

_OPEN = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")  # a browser's links to them cannot send a token
_SITE = re.compile(r"([a-z][a-z0-9+.-]*)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?", re.IGNORECASE)
_USUAL_PORTS = {"http": 80, "https": 443}
DRAINED_BYTES, DRAINED_SECONDS = 64_000_000, 2.0
"""What is read on from a client that was refused: one that is still sending would not see the answer."""
_log = logging.getLogger("wav2edge.serving")


class Guard:
    """Checks a request's token, host and origin, bounds its body, and logs its end."""

    def __init__(
        self, app: ASGIApp, service: Service, token: str | None, origins: Sequence[str], hosts: Iterable[str] | None
    ) -> None:
        """token: what clients must send (None: nothing). origins: other sites whose pages may use the server.

        hosts: names under which the server may be addressed (None: any). A server without a token is safe from pages
        of other sites only if it accepts its own name alone.
        """
        self.app = app
        self.service = service
        self._token = token.encode(errors="surrogateescape") if token else None
        self._origins = frozenset(origins)
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        limit = _BoundedBody(receive, self.service.limits)

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                if status >= 400 and status != 408 and scope["type"] == "http" and not limit.complete:
                    await _drained(scope, receive)
            elif message["type"] == "websocket.close":
                status = message.get("code", 1000)
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, limit if scope["type"] == "http" else receive, note)
        except Refused as error:
            if status:
                raise
            await _refuse(scope, receive, note, error)
        finally:
            path = getattr(scope.get("route"), "path", None) or "other"
            self.service.metrics.request(path, status)
            _log.info("request", extra={"fields": {
                "path": scope["path"], "status": status, "seconds": round(time.monotonic() - began, 3),
                "client": (scope.get("client") or ["-"])[0],
            }})  # fmt: skip

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = _name(host)
        if name is None or (self._hosts is not None and name not in self._hosts):
            raise Refused(421, "this server accepts its own name only; use the address that it printed")
        origin = headers.get("origin")
        if origin and origin not in self._origins and _place(origin) != host:
            raise Refused(403, "pages of other sites may not use this server", code="origin_not_allowed")
        self._check_token(scope["path"], headers)
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self.service.limits.upload_bytes:
            raise _too_large(self.service.limits.upload_bytes)

    def _check_token(self, path: str, headers: Headers) -> None:
        if self._token is None or path in _OPEN or path.startswith("/page/"):
            return
        shown = _shown_tokens(headers)
        if not shown:
            raise Refused(401, "this server requires its token: Authorization: Bearer …", code="invalid_api_key")
        if not any(hmac.compare_digest(each, self._token) for each in shown):
            raise Refused(401, "the token is wrong", code="invalid_api_key")


class _BoundedBody:
    """Receives a request's body up to a number of bytes, and neither late nor slowly.

    Only the time counts in which the client is waited for, not that in which the server is busy with what came.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._taken = 0
        self._waited = 0.0
        self.complete = False

    async def __call__(self) -> Message:
        if self.complete:  # only the end of the connection follows, which may come late
            return await self._receive()
        idle = self._limits.idle_seconds
        left = idle + self._taken / self._limits.upload_rate - self._waited
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), min(idle, left))
        except asyncio.TimeoutError:
            raise Refused(408, self._late() if left < idle else _SILENT.format(idle)) from None
        self._waited += time.monotonic() - began
        self._taken += len(message.get("body", b""))
        if self._taken > self._limits.upload_bytes:
            raise _too_large(self._limits.upload_bytes)
        self.complete = not message.get("more_body", False)
        return message

    def _late(self) -> str:
        rate = self._limits.upload_rate
        return f"less than {rate} bytes a second were sent on average; send the request again, or compress it first"


_SILENT = "nothing was sent for {:g} s; send the request again"


def _too_large(most: int) -> Refused:
    return Refused(413, f"the upload is larger than {most / 1e6:g} MB; compress it or cut it into parts")


def _shown_tokens(headers: Headers) -> tuple[bytes, ...]:
    """What a client may mean by the token that it shows; nothing where it shows none."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value:
        # Headers are read as Latin-1: what came is UTF-8 (curl, the page) or Latin-1 (scripts of a browser).
        return value.strip(" \t").encode("latin-1"), value.strip(" \t").encode()
    for name in headers.get("sec-websocket-protocol", "").split(","):
        protocol = name.strip(" \t")
        if protocol.startswith(PROTOCOL_TOKEN):
            return (protocol[len(PROTOCOL_TOKEN) :].encode(),)
        if protocol.startswith(ENCODED_TOKEN):
            return (_decoded(protocol[len(ENCODED_TOKEN) :]),)
    return ()


def _decoded(text: str) -> bytes:
    """Base64url without padding; nothing where it is none."""
    with contextlib.suppress(ValueError):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return b""


def _name(host: str) -> str | None:
    """A Host header's name without its port; None where it is malformed."""
    with contextlib.suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return None


def _place(origin: str) -> str | None:
    """An Origin header's host with its port; None where it is malformed."""
    with contextlib.suppress(ValueError):
        return urlsplit(origin).netloc
    return None


def site(text: str) -> str:
    """A site as browsers name it in Origin headers: without a slash at the end and without the scheme's usual port.

    Raises InputError for anything else than a scheme, a host and perhaps a port, such as ``*``.
    """
    found = _SITE.fullmatch(text.strip())
    try:
        scheme, host, port = found.groups() if found else ("", "", "0")
        host = host.lower().encode("idna").decode()
    except UnicodeError:
        found = None
    if found is None or int(port or 0) > 65535:
        raise InputError(
            f"{text[:80]!r} is not one site; give SCHEME://HOST or SCHEME://HOST:PORT, such as https://intranet.example"
        )
    scheme = scheme.lower()
    usual = port is None or int(port) == _USUAL_PORTS.get(scheme)
    return f"{scheme}://{host}" if usual else f"{scheme}://{host}:{int(port)}"


def is_local(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _drained(scope: Scope, receive: Receive) -> None:
    """Read on for a while: a client that is still sending would get a broken connection instead of the answer."""
    if "expect" in Headers(scope=scope):
        return  # it waits for permission to send

    async def read() -> None:
        taken = 0
        while taken < DRAINED_BYTES:
            message = await receive()
            taken += len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), DRAINED_SECONDS)


async def _refuse(scope: Scope, receive: Receive, send: Send, error: Refused) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await receive()
        await send({"type": "websocket.close", "code": error.close_code, "reason": error.close_reason})
        return
    await as_response(error)(scope, receive, send)


def as_response(error: Refused) -> JSONResponse:
    """A refusal as OpenAI's API writes it."""
    headers = {"Retry-After": str(error.retry)} if error.retry else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers)


class JsonLines(logging.Formatter):
    """Log records as lines of JSON; ``extra={"fields": {…}}`` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update(fields)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)
