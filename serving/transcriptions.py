"""/v1/audio/transcriptions as OpenAI's clients call it, and /v1/recordings, which also reports progress."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from ..runtime.recordings.decoding import WordDecoder
from ..runtime.text import formats
from ..runtime.text.formats.json import SegmentJson, document
from ..runtime.text.transcript import Segment, Transcript
from .models import ServedModel
from .refusals import Refused, refusal
from .requests import Form, Upload, form_of, hotwords, kept, transcribe, transcribe_unless_gone
from .service import Service
from .uploads import Cancelled

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
_MEDIA = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}

Json = Mapping[str, object]


async def openai_transcriptions(request: Request) -> Response:
    """Transcribe an upload; the form's fields are OpenAI's."""
    service: Service = request.app.state.service
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(service.file_place())
        form = await stack.enter_async_context(form_of(request, service))
        served = service.model(form.text("model"))
        _check_language(served, form.text("language"))
        kind = form.word("response_format", FORMATS)
        granularities = _granularities(form, kind)
        logprobs = "logprobs" in form.listed("include")
        decoder = hotwords(served, form.listed("keywords"), service.limits.keywords)
        streamed = form.flag("stream")
        if streamed and kind not in ("json", "text", "verbose_json"):
            raise Refused(400, f"stream goes with json and text, not with {kind}", param="response_format")
        upload = await stack.enter_async_context(kept(service, form))
        if streamed:
            return _events(_openai_events(service, served, upload, decoder, logprobs), stack.pop_all())
        transcript = await transcribe_unless_gone(request, service, served, upload, decoder)
        return _rendered(transcript, upload.name, kind, granularities, logprobs)


async def recordings(request: Request) -> Response:
    """Transcribe an upload, as server-sent events: ``progress``, ``segment``, and ``done`` with every format."""
    service: Service = request.app.state.service
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(service.file_place())
        form = await stack.enter_async_context(form_of(request, service))
        served = service.model(form.text("model"))
        decoder = hotwords(served, form.listed("keywords"), service.limits.keywords)
        upload = await stack.enter_async_context(kept(service, form))
        return _events(_own_events(service, served, upload, decoder), stack.pop_all())


def _check_language(served: ServedModel, language: str | None) -> None:
    own = served.model.spec.language
    if language and own and language.lower().split("-")[0] != own.lower().split("-")[0]:
        raise Refused(400, f"{served.name} transcribes {own}, not {language[:20]!r}", param="language")


def _granularities(form: Form, kind: str) -> tuple[str, ...]:
    wanted = form.listed("timestamp_granularities")
    for each in wanted:
        if each not in GRANULARITIES:
            raise Refused(400, f"{each[:40]!r}: choose segment or word", param="timestamp_granularities")
    if wanted and kind != "verbose_json":
        raise Refused(400, "timestamp_granularities need response_format verbose_json", param="timestamp_granularities")
    return wanted or ("segment",)


def _rendered(transcript: Transcript, name: str, kind: str, granularities: tuple[str, ...], logprobs: bool) -> Response:
    if kind == "json":
        values: dict[str, object] = {"text": transcript.text, "usage": _usage(transcript)}
        if logprobs:
            values["logprobs"] = _logprobs(transcript)
        return JSONResponse(values)
    if kind == "verbose_json":
        return JSONResponse(verbose(transcript, name, granularities))
    return PlainTextResponse(_formatted(transcript, name, kind), media_type=_MEDIA[kind])


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


async def _jobs_events(
    run: Callable[[threading.Event, _Put], asyncio.Future[Json] | asyncio.Task[Json]],
) -> AsyncGenerator[Json, None]:
    """The events that a job puts, then its result; leaving the iteration cancels it."""
    queue: asyncio.Queue[Json | None] = asyncio.Queue()
    cancelled = threading.Event()
    job = run(cancelled, queue.put_nowait)
    job.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            yield item
        yield await job
    finally:
        cancelled.set()
        if not job.done():
            job.cancel()
            with contextlib.suppress(BaseException):
                await job


def _openai_events(
    service: Service, served: ServedModel, upload: Upload, decoder: WordDecoder | None, logprobs: bool
) -> AsyncGenerator[Json, None]:
    async def job(cancelled: threading.Event, put: _Put) -> Json:
        said = False

        def segment(found: Segment) -> None:
            nonlocal said
            put({"type": "transcript.text.delta", "delta": f" {found.text}" if said else found.text})
            said = True

        transcript = await transcribe(service, served, upload, cancelled, decoder, segment)
        done = {"type": "transcript.text.done", "text": transcript.text, "usage": _usage(transcript)}
        return {**done, "logprobs": _logprobs(transcript)} if logprobs else done

    return _jobs_events(lambda cancelled, put: asyncio.ensure_future(job(cancelled, put)))


def _own_events(
    service: Service, served: ServedModel, upload: Upload, decoder: WordDecoder | None
) -> AsyncGenerator[Json, None]:
    async def job(cancelled: threading.Event, put: _Put) -> Json:
        count = 0

        def segment(found: Segment) -> None:
            nonlocal count
            part = Transcript(found.text, found.end, found.words, (found,))
            put({"type": "segment", "segment": {**document(part, "")["segments"][0], "id": count}})
            count += 1

        def progress(done: float, total: float) -> None:
            put({"type": "progress", "done": round(done, 2), "total": round(total, 2)})

        transcript = await transcribe(service, served, upload, cancelled, decoder, segment, progress)
        kinds: tuple[Literal["srt", "vtt", "text"], ...] = ("srt", "vtt", "text")
        return {
            "type": "done",
            "model": served.name,
            "transcript": document(transcript, upload.name),
            "formats": {kind: _formatted(transcript, upload.name, kind) for kind in kinds},
        }

    return _jobs_events(lambda cancelled, put: asyncio.ensure_future(job(cancelled, put)))


def _events(events: AsyncGenerator[Json, None], stack: contextlib.AsyncExitStack) -> StreamingResponse:
    """Server-sent events; ``stack`` is closed with them. An error after the first byte is sent as an event."""

    async def body() -> AsyncIterator[str]:
        async with stack:
            try:
                async with contextlib.aclosing(events) as each:
                    async for event in each:
                        yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
            except Cancelled:
                return
            except Exception as error:
                yield f"data: {json.dumps({'type': 'error', **refusal(error).body()}, ensure_ascii=False)}\n\n"

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
