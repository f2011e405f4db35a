"""The description of the API: /openapi.json (OpenAPI 3.1), and the page /docs made of it, without scripts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from .transcriptions import FORMATS, GRANULARITIES

Json = Mapping[str, object]

_ERRORS = {
    "400": "a field is wrong; the message names it",
    "401": "the token is missing or wrong",
    "403": "a page of another site asked",
    "404": "no model, stream or path of that name",
    "405": "the path does not take this method",
    "408": "nothing was sent for too long, or too slowly",
    "413": "the upload or the recording is too large",
    "415": "the body is not multipart/form-data",
    "421": "another host name than the server's",
    "422": "the recording crashed its decoder",
    "429": "too many live streams of one address (on a socket)",
    "503": "the server is full or stopping; Retry-After says when to try again",
}
_EVERYWHERE = ("403", "405", "421")
_UPLOADS = ("400", "401", "404", "408", "413", "415", "422", "503")
_SOCKETS = ("401", "403", "421")
"""Before a socket is open; later errors are messages on it, and the code with which it is closed."""
_FIELDS: dict[str, Json] = {
    "file": {"type": "string", "format": "binary", "description": "the recording, in any format the server decodes"},
    "model": {"type": "string", "description": "one of /v1/models; the first where it is left out"},
    "language": {"type": "string", "description": "refused where the model names another one"},
    "keywords": {"type": "array", "items": {"type": "string"}, "description": "words or phrases to favour"},
    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
    "timestamp_granularities[]": {
        "type": "array",
        "items": {"enum": list(GRANULARITIES)},
        "description": "with verbose_json",
    },
    "include[]": {"type": "array", "items": {"enum": ["logprobs"]}, "description": "each word's log-probability"},
    "stream": {"type": "boolean", "default": False, "description": "server-sent events transcript.text.delta, .done"},
    "chunking_strategy": {"enum": ["auto", "server_vad"], "description": "taken and ignored"},
    "prompt": {"type": "string", "description": "taken and ignored: the model has no prompt"},
    "temperature": {"type": "number", "description": "taken and ignored: decoding is deterministic"},
}
_OWN = ("file", "model", "keywords")


def document(version: str) -> Json:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wav2edge",
            "version": version,
            "description": "Speech to text. Errors are {error: {message, type, param, code}}.",
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _error()},
        },
        "security": [{}, {"token": []}],
        "paths": _paths(),
    }


def _paths() -> dict[str, Json]:
    return {
        "/v1/audio/transcriptions": {
            "post": _upload("Transcribe a recording, as OpenAI's clients ask for it", _FIELDS)
        },
        "/v1/recordings": {
            "post": _upload(
                "Transcribe a recording, as server-sent events: progress, segment, done (with every format)",
                {name: _FIELDS[name] for name in _OWN},
            )
        },
        "/v1/listen": {"get": _socket(
            "WebSocket: live captions. Binary messages are samples, {\"type\": \"finish\"} ends them; the answers are "
            "the events of `wav2edge listen --json`",
            _query("model", "one of /v1/models"), _query("sample_rate", "Hz, 16000"),
            _query("encoding", "s16le, f32le, mulaw or alaw"),
        )},
        "/v1/streams/{stream}/events": {"get": _get(
            "Server-sent events of a running stream, for those who watch it", ("401", "404", "503"), _place("stream"),
        )},
        "/v1/realtime": {"get": _socket(
            "WebSocket: OpenAI's realtime transcription (24 kHz PCM, PCMU, PCMA)", _query("model", "one of /v1/models")
        )},
        "/v1/models": {"get": _get("The models, with engine, variant and word error rates", ("401",))},
        "/v1/models/{model}": {"get": _get("One model", ("401", "404"), _place("model"))},
        "/v1/status": {"get": _get("Load, streams, queue and limits", ("401",))},
        "/healthz": {"get": _get("200 while the process runs")},
        "/readyz": {"get": _get("200 while requests are taken, 503 while the server stops", ("503",))},
        "/metrics": {"get": _get("Counts and gauges for Prometheus", ("401",))},
    }  # fmt: skip


def _error() -> Json:
    text: Json = {"type": ["string", "null"]}
    fields = {"message": {"type": "string"}, "type": {"type": "string"}, "param": text, "code": text}
    return {"type": "object", "properties": {"error": {"type": "object", "properties": fields}}}


def _upload(summary: str, fields: Mapping[str, Json]) -> Json:
    content = {"multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": dict(fields)}}}
    body = {"required": True, "content": content}
    return {"summary": summary, "requestBody": body, "responses": _responses("200", (*_EVERYWHERE, *_UPLOADS))}


def _get(summary: str, statuses: tuple[str, ...] = (), *parameters: Json) -> Json:
    """statuses: what the path can give besides 200 and what all paths can."""
    responses = _responses("200", (*_EVERYWHERE, *statuses))
    return {"summary": summary, "parameters": list(parameters), "responses": responses}


def _socket(summary: str, *parameters: Json) -> Json:
    return {"summary": summary, "parameters": list(parameters), "responses": _responses("101", _SOCKETS)}


def _place(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, about: str) -> Json:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "string"}}


def _responses(success: str, statuses: Iterable[str]) -> dict[str, Json]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Json] = {success: {"description": "done" if success == "200" else "the socket is open"}}
    responses.update({status: {"description": _ERRORS[status], "content": error} for status in sorted(statuses)})
    return responses


def page() -> str:
    """The same for people, as one page."""
    rows = []
    for path, methods in _paths().items():
        for method, about in methods.items():
            assert isinstance(about, dict)
            rows.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(about['summary'])}</p>"
            )
            if path.endswith(("transcriptions", "recordings")):
                fields = _FIELDS if path.endswith("transcriptions") else {name: _FIELDS[name] for name in _OWN}
                rows.append(_table(fields))
    statuses = "".join(
        f"<tr><th scope=row>{code}</th><td>{html.escape(text)}</td></tr>" for code, text in _ERRORS.items()
    )
    return (
        '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        "<title>wav2edge API</title><link rel=stylesheet href=/page/style.css><main class=prose><h1>wav2edge API</h1>"
        "<p>The same for programs: <a href=/openapi.json>/openapi.json</a>. A server with a token wants "
        "<code>Authorization: Bearer TOKEN</code>.</p>"
        + "".join(rows)
        + f"<h2>Errors</h2><table>{statuses}</table></main></html>"
    )


def _table(fields: Mapping[str, Json]) -> str:
    rows = "".join(
        f"<tr><th scope=row><code>{html.escape(name)}</code></th><td>"
        f"{html.escape(str(about.get('description') or ', '.join(map(str, _words(about)))))}</td></tr>"
        for name, about in fields.items()
    )
    return f"<table>{rows}</table>"


def _words(about: Json) -> list[object]:
    choices = about.get("enum")
    return list(choices) if isinstance(choices, list) else []
