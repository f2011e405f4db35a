"""/v1/audio/transcriptions as OpenAI's clients call it, and /v1/recordings, which also reports progress."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..runtime.heads import ctc
from ..runtime.recordings.decoding import WordDecoder
from ..runtime.text import formats
from ..runtime.text.formats.json import SegmentJson, document
from ..runtime.text.transcript import Segment, Transcript
from .models import ServedModel
from .refusals import Refused, refusal
from .requests import (
    EventResponse,
    Form,
    Upload,
    check_language,
    ended,
    form_of,
    hotwords,
    kept,
    transcribe,
    transcribe_unless_gone,
)
from .service import Service

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
_MEDIA = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}
_HEADER_BYTES = 2000  # of the warnings in a header; proxies refuse headers of more than 4 to 8 KB in all

Json = Mapping[str, object]


@dataclass(frozen=True)
class _Wanted:
    """What a client asks to be told of a transcript, and how."""

    kind: str
    granularities: tuple[str, ...]
    logprobs: bool
    streamed: bool


async def openai_transcriptions(request: Request) -> Response:
    """Transcribe an upload; the form's fields are OpenAI's."""
    service: Service = request.app.state.service
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(service.file_place())
        form = await stack.enter_async_context(form_of(request, service))
        served = service.model(form.text("model"))
        check_language(served, form.text("language"))
        wanted = _wanted(form)
        decoder = await hotwords(served, form.listed("keywords"), service.limits.keywords)
        upload = await stack.enter_async_context(kept(service, form))
        if wanted.streamed:
            return _events(_openai_events(service, served, upload, decoder, wanted.logprobs), stack.pop_all())
        transcript = await transcribe_unless_gone(request, service, served, upload, decoder)
        return _rendered(transcript, upload.name, wanted)


async def recordings(request: Request) -> Response:
    """Transcribe an upload, as server-sent events: ``progress``, ``segment``, and ``done`` with every format."""
    service: Service = request.app.state.service
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(service.file_place())
        form = await stack.enter_async_context(form_of(request, service))
        served = service.model(form.text("model"))
        decoder = await hotwords(served, form.listed("keywords"), service.limits.keywords)
        upload = await stack.enter_async_context(kept(service, form))
        return _events(_own_events(service, served, upload, decoder), stack.pop_all())


def _wanted(form: Form) -> _Wanted:
    """The fields that say what comes back; raises Refused for those that do not go together."""
    kind, streamed = form.word("response_format", FORMATS), form.flag("stream")
    if streamed and kind not in ("json", "text"):
        raise Refused(400, f"stream goes with json and text, not with {kind}", param="response_format")
    included = form.listed("include")
    for each in included:
        if each != "logprobs":
            raise Refused(400, f"include {each[:40]!r} is not offered; choose from logprobs", param="include")
    if included and not streamed and kind != "json":
        raise Refused(400, f"include logprobs goes with json and with stream, not with {kind}", param="include")
    _check_chunking(form)
    return _Wanted(kind, _granularities(form, kind), bool(included), streamed)


def _check_chunking(form: Form) -> None:
    """``chunking_strategy`` has no effect; raises Refused where it is none of OpenAI's."""
    value, kind = form.text("chunking_strategy"), form.text("chunking_strategy[type]")
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(value or "")
        kind = str(values.get("type")) if isinstance(values, dict) else kind
    kind = kind or value or "auto"
    if kind in ("auto", "server_vad"):
        return
    raise Refused(
        400, f"chunking_strategy {kind[:40]!r} is not offered; choose from auto, server_vad", param="chunking_strategy"
    )


def _granularities(form: Form, kind: str) -> tuple[str, ...]:
    wanted = form.listed("timestamp_granularities")
    for each in wanted:
        if each not in GRANULARITIES:
            raise Refused(400, f"{each[:40]!r}: choose segment or word", param="timestamp_granularities")
    if wanted and kind != "verbose_json":
        raise Refused(400, "timestamp_granularities need response_format verbose_json", param="timestamp_granularities")
    return wanted or ("segment",)


def _rendered(transcript: Transcript, name: str, wanted: _Wanted) -> Response:
    if wanted.kind == "json":
        return JSONResponse(_text(transcript, wanted.logprobs))
    if wanted.kind == "verbose_json":
        return JSONResponse(verbose(transcript, name, wanted.granularities))
    text = _formatted(transcript, name, wanted.kind)
    return PlainTextResponse(text, headers=_doubts(transcript), media_type=_MEDIA[wanted.kind])


def _text(transcript: Transcript, logprobs: bool) -> Json:
    values: dict[str, object] = {
        "text": transcript.text,
        "complete": transcript.complete,
        "warnings": list(transcript.warnings),
        "usage": _usage(transcript),
    }
    if logprobs:
        values["logprobs"] = _logprobs(transcript)
    return values


def _doubts(transcript: Transcript) -> dict[str, str]:
    """Whether a transcript is incomplete, and its warnings, as headers, in ASCII."""
    headers = {} if transcript.complete else {"X-Wav2edge-Complete": "false"}
    if transcript.warnings:
        line = " ".join("; ".join(transcript.warnings).split())
        plain = "".join(each if " " <= each <= "~" else "?" for each in line)
        headers["X-Wav2edge-Warnings"] = plain[:_HEADER_BYTES]
    return headers


def verbose(transcript: Transcript, name: str, granularities: tuple[str, ...]) -> Json:
    """OpenAI's ``verbose_json``; fields that only Whisper has carry neutral values, because clients require them."""
    made = document(transcript, name)
    values: dict[str, object] = {
        "task": made["task"],
        "language": made["language"] or "",
        "duration": made["duration"],
        "text": made["text"],
        "complete": made["complete"],
        "warnings": made["warnings"],
        "usage": _usage(transcript),
    }
    if "segment" in granularities:
        values["segments"] = [_segment(segment) for segment in made["segments"]]
    if "word" in granularities:
        values["words"] = [{"word": word["word"], "start": word["start"], "end": word["end"]} for word in made["words"]]
    return values


def _segment(segment: SegmentJson) -> Json:
    return {
        "id": segment["id"],
        "seek": 0,
        "start": segment["start"],
        "end": segment["end"],
        "text": segment["text"],
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": segment["avg_logprob"],
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def _formatted(transcript: Transcript, name: str, kind: str) -> str:
    return formats.get(kind).render(transcript, name, formats.CaptionLayout())


def _usage(transcript: Transcript) -> Json:
    return {"type": "duration", "seconds": math.ceil(transcript.seconds)}


def _logprobs(transcript: Transcript) -> list[Json]:
    return [
        {
            "token": word.text,
            "logprob": round(math.log(max(word.confidence, 1e-6)), 4),
            "bytes": list(word.text.encode()),
        }
        for word in transcript.words
    ]


_Put = Callable[[Json | None], None]


async def _jobs_events(run: Callable[[_Put], Coroutine[object, object, Json]]) -> AsyncGenerator[Json, None]:
    """The events that a job puts, then its result; leaving the iteration cancels it."""
    queue: asyncio.Queue[Json | None] = asyncio.Queue()
    job = asyncio.ensure_future(run(queue.put_nowait))
    job.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            yield item
        yield await job
    finally:
        job.cancel()
        await ended(job)


def _openai_events(
    service: Service, served: ServedModel, upload: Upload, decoder: WordDecoder | None, logprobs: bool
) -> AsyncGenerator[Json, None]:
    async def job(put: _Put) -> Json:
        said, gap = False, ctc.gap(served.model.spec)

        def segment(found: Segment) -> None:
            nonlocal said
            put({"type": "transcript.text.delta", "delta": gap + found.text if said else found.text})
            said = True

        transcript = await transcribe(service, served, upload, decoder, segment)
        return {"type": "transcript.text.done", **_text(transcript, logprobs)}

    return _jobs_events(job)


def _own_events(
    service: Service, served: ServedModel, upload: Upload, decoder: WordDecoder | None
) -> AsyncGenerator[Json, None]:
    async def job(put: _Put) -> Json:
        count = 0

        def segment(found: Segment) -> None:
            nonlocal count
            part = Transcript(found.text, found.end, found.words, (found,))
            put({"type": "segment", "segment": {**document(part, "")["segments"][0], "id": count}})
            count += 1

        def progress(done: float, total: float) -> None:
            put({"type": "progress", "done": round(done, 2), "total": round(total, 2)})

        transcript = await transcribe(service, served, upload, decoder, segment, progress)
        kinds: tuple[Literal["srt", "vtt", "text"], ...] = ("srt", "vtt", "text")
        return {
            "type": "done",
            "model": served.name,
            "transcript": document(transcript, upload.name),
            "formats": {kind: _formatted(transcript, upload.name, kind) for kind in kinds},
        }

    return _jobs_events(job)


def _events(events: AsyncGenerator[Json, None], stack: contextlib.AsyncExitStack) -> EventResponse:
    """Server-sent events; ``stack`` is closed with them. An error after the first byte is sent as an event."""

    async def body() -> AsyncGenerator[str, None]:
        try:
            async with contextlib.aclosing(events) as each:
                async for event in each:
                    yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
        except Exception as error:
            yield f"data: {json.dumps({'type': 'error', **refusal(error).body()}, ensure_ascii=False)}\n\n"

    return EventResponse(body(), stack)
