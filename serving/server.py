"""Run the application with uvicorn: its socket, its certificate, and its orderly stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..runtime import hang_up
from ..runtime.errors import InputError, first_line
from .app import application
from .guard import JsonLines, is_local, site
from .inbox import SocketProtocol
from .limits import Limits
from .listening import listening
from .models import Catalogue
from .service import Service
from .unread import WatchedProtocol

_SWITCH_SECONDS = (
    1e-4  # that a thread of Python may make another wait, here the one that reads sockets; Python's is 5 ms
)
_SOCKET_BYTES = 1 << 20  # of one message on a socket: 30 s of 16-bit sound at 16 kHz


@dataclass(frozen=True)
class ServerOptions:
    """The address of a server, and who may use it."""

    host: str = "127.0.0.1"
    """The address to listen on; default this machine only."""

    port: int = 8000
    """The port; 0 takes a free one. Default 8000."""

    token: str | None = None
    """The token that clients must send; required on an address that other machines reach."""

    certificate: Path | None = None
    """A PEM file with certificates, for https."""

    key: Path | None = None
    """A PEM file with the private key, where it is not in the certificate's file."""

    origins: tuple[str, ...] = ()
    """Other sites whose pages may use the server, as ``SCHEME://HOST[:PORT]``; default none."""

    log_text: bool = False
    """Whether the log has what was said; default no."""

    def __post_init__(self) -> None:
        """Raises InputError for access without a token, a key without a certificate, wrong files and wrong sites."""
        if not is_local(self.host) and not self.token:
            raise InputError(f"host={self.host} gives other machines access; give token= as well, or WAV2EDGE_TOKEN")
        if self.key is not None and self.certificate is None:
            raise InputError("a key without a certificate; give certificate= as well")
        object.__setattr__(self, "origins", tuple(site(each) for each in self.origins))
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise InputError(f"{path}: no such file")


class Server:
    """A server on its socket; ``run`` it."""

    def __init__(self, catalogue: Catalogue, options: ServerOptions, limits: Limits | None = None) -> None:
        """Bind the port; raises InputError where the port or the certificate cannot be used."""
        self.options = options
        self.limits = limits or Limits()
        self.socket = listening(options.host, options.port)
        try:
            self._context = _certificate(options)
        except BaseException:
            self.socket.close()
            raise
        self.catalogue = catalogue
        self._stop: Callable[[], None] = lambda: None

    def stop(self) -> None:
        """End in order, from any thread: running utterances and files are finished; the second time, at once."""
        self._stop()

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host, port = self.socket.getsockname()[:2]
        shown = self.options.host if is_local(self.options.host) else host
        return f"{'https' if self._context else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def run(self, ready: Callable[[], None] = lambda: None, extras: Sequence[Extra] = ()) -> None:
        """Serve until the process is asked to stop; ready: called once requests are taken. extras: further servers."""
        _allow_many_files()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            asyncio.run(self._run(ready, extras))
        finally:
            sys.setswitchinterval(interval)

    async def _run(self, ready: Callable[[], None], extras: Sequence[Extra]) -> None:
        service = Service(self.catalogue, self.limits, self.options.log_text)
        local = is_local(self.options.host)
        app = application(
            service,
            token=self.options.token,
            origins=self.options.origins,
            hosts=("localhost", "127.0.0.1", "::1", self.options.host) if local and not self.options.token else None,
        )
        config = uvicorn.Config(
            app, log_config=None, access_log=False, http=_protocol(self.limits), ws=SocketProtocol,
            ws_max_size=_SOCKET_BYTES, ws_per_message_deflate=False,  # sound hardly gets smaller by it
            ws_ping_interval=self.limits.stalled_seconds,
            ws_ping_timeout=2 * self.limits.stalled_seconds, timeout_keep_alive=15,
            timeout_graceful_shutdown=3, server_header=False, date_header=False,
        )  # fmt: skip
        if self._context is not None:
            config.load()
            config.ssl = self._context
        server = _Uvicorn(config, service, ready)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(server.end, signal.SIGTERM)

        self._stop = stop
        tasks = [asyncio.ensure_future(extra(service)) for extra in extras]
        for task in tasks:
            task.add_done_callback(_say_failure)
        try:
            await server.serve(sockets=[self.socket])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


Extra = Callable[[Service], Coroutine[object, object, None]]
"""A further server, which runs until it is cancelled."""


def _say_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        sys.stderr.write(f"wav2edge: a part of the server ended: {first_line(error)}\n")


class _Uvicorn(uvicorn.Server):
    """uvicorn that finishes running utterances and files before it stops."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        with _hang_up(self.handle_exit):
            await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the second time, stop at once."""
        asyncio.get_running_loop().call_soon_threadsafe(self.end, sig)

    def end(self, sig: int) -> None:
        """The same on the event loop."""
        if self._service.stopping.is_set():  # the second time: at once
            if sig == hang_up.HANG_UP:  # a terminal that is closed, and its shell, may both say so
                return
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._service.stopping.set()
        self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._service.limits.stop_seconds
        while self._service.busy and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        self.should_exit = True


@contextlib.contextmanager
def _hang_up(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the end of the terminal in a block, unless it is ignored as by nohup; in the main thread alone."""
    number = hang_up.ending()
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


class _Protocol(WatchedProtocol, H11Protocol):
    """uvicorn's HTTP/1.1 with bounds: connections, seconds for a request's headers and for taking an answer."""

    most = 4096
    header_seconds = 20.0
    stalled_seconds = 10.0
    _waiting: asyncio.TimerHandle | None = None
    _upgraded = False  # whether the connection was handed to a socket's protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request():
            self._unexpect()
        elif self._waiting is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unexpect()
        super().connection_lost(exc)

    def unread_seconds(self) -> float:
        return self.stalled_seconds

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._upgraded = True
        self.end_watch()  # the socket's protocol has its own
        super().handle_websocket_upgrade(event)

    def _in_request(self) -> bool:
        return self._upgraded or (self.cycle is not None and not self.cycle.response_complete)

    def _expect(self) -> None:
        self._waiting = self.loop.call_later(self.header_seconds, self._give_up)

    def _unexpect(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if not self._in_request():
            self.transport.close()


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    bounds = {
        "most": limits.connections, "header_seconds": limits.header_seconds, "stalled_seconds": limits.stalled_seconds,
    }  # fmt: skip
    return type("_BoundedProtocol", (_Protocol,), bounds)


def _certificate(options: ServerOptions) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.certificate, options.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise InputError(
            f"{options.certificate}: not a certificate with its unencrypted key in PEM ({error})"
        ) from error
    return context


def _allow_many_files() -> None:
    """Raise the soft bound on open files to the hard one: each connection is one. Windows has no such bound."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))


def log_to(stream: logging.Handler) -> None:
    """Write the server's log as lines of JSON to a handler; without this it writes nothing."""
    stream.setFormatter(JsonLines())
    for name in ("wav2edge.serving", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [stream], False
        logger.setLevel(logging.INFO if name.startswith("wav2edge") else logging.WARNING)
