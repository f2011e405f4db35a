"""``wav2edge serve``: a web page with live captions, an OpenAI-compatible API, and sockets."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wav2edge.runtime import remedies
from wav2edge.runtime.errors import EngineError, InputError

from . import _live_options, _options, _terminal
from ._command import command, gathered, option
from ._live_options import Rules
from ._options import One
from ._values import COUNT, Number

if TYPE_CHECKING:
    from wav2edge.serving.limits import Limits

_WHERE = "Address and access"
_LIMITS = "Limits"
TOKEN = "WAV2EDGE_TOKEN"
_NEEDED = ("starlette", "uvicorn", "websockets", "python_multipart")


@dataclass(frozen=True)
class Where:
    """Where the server listens."""

    host: str
    port: int
    token: str | None
    certificate: str | None
    key: str | None
    wyoming: int | None
    announce: bool
    cors: tuple[str, ...]


@dataclass(frozen=True)
class Bounds:
    """Limits that are often changed; None keeps the default."""

    max_upload: int | None
    max_hours: float | None
    max_streams: int | None
    max_streams_per_client: int | None

    def limits(self) -> Limits:
        """Return them with the defaults of the rest."""
        from wav2edge.serving.limits import Limits

        limits = Limits()
        if self.max_upload is not None:
            limits = dataclasses.replace(limits, upload_bytes=self.max_upload * 1_000_000)
        if self.max_hours is not None:
            limits = dataclasses.replace(limits, recording_seconds=self.max_hours * 3600)
        if self.max_streams is not None:
            limits = dataclasses.replace(limits, streams=self.max_streams)
        if self.max_streams_per_client is not None:
            limits = dataclasses.replace(limits, streams_per_client=self.max_streams_per_client)
        return limits


@command(
    "wav2edge serve  # http://127.0.0.1:8000, for this machine only",
    "wav2edge serve -m my-bundle -m fast=my-small-bundle  # two models, by name",
    "wav2edge serve --wyoming 10300  # for Home Assistant as well",
    "wav2edge serve -m my-bundle --host 0.0.0.0 --token TOKEN --certificate cert.pem --key key.pem",
)
@_options.models("bundle to serve, as BUNDLE or NAME=BUNDLE")
@_options.one_engine
@gathered(
    Where,
    "where",
    option("--host", "address to listen on (default: 127.0.0.1)", group=_WHERE, metavar="ADDRESS", default="127.0.0.1"),
    option(
        "--port", "port; 0 takes a free one (default: 8000)", group=_WHERE, metavar="N", default=8000,
        type=Number(int, 0, 65535, "a port"),
    ),
    option(
        "--token", "what clients must show; better given as WAV2EDGE_TOKEN, which no list of processes shows",
        group=_WHERE, metavar="TOKEN",
    ),
    option(
        "--certificate", "PEM file with certificates, for https, which browsers want for microphones of other machines",
        group=_WHERE, metavar="FILE.pem", type=_options.FILE,
    ),
    option("--key", "PEM file with their private key", group=_WHERE, metavar="FILE.pem", type=_options.FILE),
    option(
        "--wyoming", "serve Wyoming (Home Assistant) as well, on this port of the same address; it knows no token",
        group=_WHERE, metavar="PORT", type=Number(int, 0, 65535, "a port"),
    ),
    option("--announce", "announce Wyoming on the local network, so that Home Assistant finds it", group=_WHERE,
           is_flag=True),
    option(
        "--cors", "other site whose pages may use the server, such as https://intranet; may be repeated",
        group=_WHERE, metavar="ORIGIN", multiple=True,
    ),
)  # fmt: skip
@gathered(
    Bounds,
    "bounds",
    option("--max-upload", "largest upload, in MB (default: 500)", group=_LIMITS, metavar="MB", type=COUNT),
    option(
        "--max-hours", "longest recording, in hours (default: 4)", group=_LIMITS, metavar="H",
        type=Number(float, 0, 1000, "hours", above=True),
    ),
    option("--max-streams", "live streams at once (default: 64)", group=_LIMITS, metavar="N", type=COUNT),
    option(
        "--max-streams-per-client", "live streams of one address (default: 8)", group=_LIMITS, metavar="N", type=COUNT,
    ),
)  # fmt: skip
@option("--log", "write a line of JSON for each request to standard error, without the words said", is_flag=True)
@option("--log-text", "with --log: a line for what each utterance and recording says as well", is_flag=True)
@_live_options.rules(labels=False)
def run(
    model: tuple[str, ...], one: One, where: Where, bounds: Bounds, log: bool, log_text: bool, rules: Rules
) -> None:
    """Serve models: a web page with live captions, an OpenAI-compatible API, and sockets.

    The page and the API are for this machine only unless --host says otherwise, and then a token is needed. Ctrl-C or
    SIGTERM ends in order: running utterances and files are finished first.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(f"a server needs more packages; install them with `{remedies.install('serve')}`")
    import logging

    from wav2edge.serving.announcement import Announcement
    from wav2edge.serving.models import open_models
    from wav2edge.serving.server import Extra, Server, ServerOptions, log_to
    from wav2edge.serving.wyoming import WyomingServer

    if where.announce and where.wyoming is None:
        raise InputError("--announce is for --wyoming PORT")
    if log_text and not log:
        raise InputError("--log-text is for --log; add --log")
    options = ServerOptions(
        where.host, where.port, where.token or os.environ.get(TOKEN) or None,
        Path(where.certificate) if where.certificate else None, Path(where.key) if where.key else None, where.cors,
        log_text,
    )  # fmt: skip
    log_to(logging.StreamHandler() if log else logging.NullHandler())
    if not model:
        _options.open_bundle(None)  # prints the note about the demo model
    catalogue = open_models(
        model, one.engine, one.variant, threads=one.threads, device=one.device, settings=rules.settings()
    )
    try:
        server = Server(catalogue, options, bounds.limits())
        wyoming = None if where.wyoming is None else WyomingServer(where.host, where.wyoming)

        def ready() -> None:
            for each in catalogue.models:
                opened = each.model
                _terminal.note(f"serving {each.name} ({opened.variant.name} on {opened.engine})")
            _terminal.note(f"at {server.address}; Ctrl-C ends")

        if wyoming is not None:
            _terminal.note(f"Wyoming on port {wyoming.port}")
        extras: list[Extra] = [] if wyoming is None else [wyoming.serve]
        if wyoming is not None and where.announce:
            extras.append(Announcement(where.host, wyoming.port).serve)
        server.run(ready, extras)
    finally:
        catalogue.close()
    _terminal.note("stopped")
