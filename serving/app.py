"""The ASGI application: its routes, and the form of every error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from .. import __version__
from . import memory, openapi
from .captions import listen, subscribe
from .guard import Guard, as_response
from .models import ServedModel
from .realtime import realtime
from .refusals import Refused, refusal
from .service import Service
from .transcriptions import openai_transcriptions, recordings

PAGE = Path(__file__).parent / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
    "connect-src 'self' ws: wss:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self)",
}


def application(
    service: Service,
    *,
    token: str | None = None,
    origins: Sequence[str] = (),
    hosts: Iterable[str] | None = None,
) -> Starlette:
    """The application around a service, which it starts and closes; the parameters are those of ``Guard``."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.close()

    middleware = [Middleware(Guard, service=service, token=token, origins=tuple(origins), hosts=hosts)]
    if origins:
        allowed = Middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            expose_headers=["X-Wav2edge-Complete", "X-Wav2edge-Warnings"],
            allow_headers=["*"],  # clients send headers of their own, such as OpenAI's x-stainless-*
        )  # fmt: skip
        middleware.insert(0, allowed)
    app = Starlette(
        routes=_routes(),
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={Refused: _refused, HTTPException: _http_error, Exception: _failed},
    )
    app.state.service = service
    return app


def _routes() -> list[BaseRoute]:
    return [
        Route("/", _page),
        Mount("/page", _PageFiles(directory=PAGE), name="page"),
        Route("/healthz", _health),
        Route("/readyz", _ready),
        Route("/metrics", _metrics),
        Route("/docs", _docs),
        Route("/openapi.json", _openapi),
        Route("/v1/models", _models),
        Route("/v1/models/{model}", _model),
        Route("/v1/status", _status),
        Route("/v1/audio/transcriptions", openai_transcriptions, methods=["POST"]),
        Route("/v1/recordings", recordings, methods=["POST"]),
        Route("/v1/streams/{stream}/events", subscribe),
        WebSocketRoute("/v1/listen", listen),
        WebSocketRoute("/v1/realtime", realtime),
    ]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _page(request: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers={**_HEADERS, "Cache-Control": "no-cache"})


class _PageFiles(StaticFiles):
    """The page's files, of which a browser asks each time whether they changed: those of two releases do not fit."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file's answer."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _health(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(request: Request) -> Response:
    if _service(request).stopping.is_set():
        return PlainTextResponse("stopping\n", 503)
    return PlainTextResponse("ready\n")


async def _metrics(request: Request) -> Response:
    service = _service(request)
    text = service.metrics.text(service.scheduler, service.files.decoders.lost, service.files_now, memory.resident())
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def _docs(request: Request) -> Response:
    return HTMLResponse(openapi.page(), headers=_HEADERS)


async def _openapi(request: Request) -> Response:
    return JSONResponse(openapi.document(__version__))


def _described(served: ServedModel) -> dict[str, object]:
    spec = served.model.spec
    return {
        "id": served.name,
        "object": "model",
        "created": 0,
        "owned_by": "wav2edge",
        "architecture": spec.architecture,
        "language": spec.language,
        "engine": served.model.engine,
        "variant": served.model.variant.name,
        "bytes": served.model.variant.bytes,
        "wer": served.wer,
    }


async def _models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_described(each) for each in _service(request).catalogue.models]})


async def _model(request: Request) -> Response:
    return JSONResponse(_described(_service(request).model(request.path_params["model"])))


async def _status(request: Request) -> Response:
    service = _service(request)
    counts, scheduler = service.scheduler.counts, service.scheduler
    lags = sorted(counts.lags)
    limits = service.limits
    return JSONResponse(
        {
            "version": __version__,
            "models": [_described(each) for each in service.catalogue.models],
            "streams": scheduler.streams,
            "files": service.files_now,
            "queue_seconds": round(scheduler.sound_waiting(), 2),
            "queue_chunks": scheduler.chunks_waiting,
            "lag_p95": round(lags[int(0.95 * (len(lags) - 1))], 3) if lags else None,
            "load": round(scheduler.load(), 3),
            "lanes": scheduler.settings.lanes,
            "memory_bytes": memory.resident(),
            "tasks": len(asyncio.all_tasks()),
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "recording_seconds": limits.recording_seconds,
                "streams": limits.streams,
            },
        }
    )


async def _refused(request: Request, error: Exception) -> Response:
    return as_response(refusal(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    about = {
        404: f"nothing is at {request.url.path[:80]}; /docs lists the paths",
        405: f"{request.url.path[:80]} does not take {request.method}; /docs lists the methods",
    }
    return as_response(Refused(error.status_code, about.get(error.status_code, error.detail)))


async def _failed(request: Request, error: Exception) -> Response:
    problem = refusal(error)
    if problem.status == 500:
        _service(request).log.error("a request failed", exc_info=error)
    return as_response(problem)
