"""Handle an uploaded recording: check its form, store its file, transcribe it in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from ..runtime.recordings.decoding import WordDecoder
from ..runtime.text.transcript import Segment, Transcript
from .models import ServedModel
from .refusals import Refused, room_on_disk
from .service import Service
from .uploads import Share

Result = TypeVar("Result")

_FIELD_BYTES = 64 * 1024
_MOST_FIELDS = 400
_LONGEST_NAME = 200

LONGEST_KEYWORD = 100
"""Characters of one keyword: the time to prepare a search grows with the square of its length."""


@dataclass(frozen=True)
class Upload:
    """A recording on disk, and the name that its client gave it."""

    path: Path
    name: str
    size: int


class Form:
    """The fields of a multipart request; what is wrong with one is a Refused that names it."""

    def __init__(self, data: FormData, share: Share) -> None:
        """data: as Starlette parsed it. share: what is reserved for its files; ``close`` releases it."""
        self._data = data
        self._share = share

    async def close(self) -> None:
        """Remove the files; their fields are gone, those of text stay."""
        await self._data.close()
        self._share.end()

    def text(self, name: str) -> str | None:
        """The value of a field; None where it was left out or is empty."""
        value = self._data.get(name)
        if isinstance(value, UploadFile):
            raise Refused(400, f"{name} must be text, not a file", param=name)
        return value or None

    def listed(self, name: str) -> tuple[str, ...]:
        """All values of a field that may come again, as ``name`` or as ``name[]``."""
        values = [*self._data.getlist(name), *self._data.getlist(f"{name}[]")]
        if not all(isinstance(value, str) for value in values):
            raise Refused(400, f"{name} must be text, not a file", param=name)
        return tuple(str(value) for value in values)

    def flag(self, name: str) -> bool:
        """Whether a field says true."""
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false", "1", "0"):
            raise Refused(400, f"{name} must be true or false, not {value[:40]!r}", param=name)
        return value in ("true", "1")

    def word(self, name: str, words: Sequence[str]) -> str:
        """One of some words; the first where it was left out."""
        value = self.text(name) or words[0]
        if value not in words:
            raise Refused(400, f"{name} {value[:40]!r} is not offered; choose from {', '.join(words)}", param=name)
        return value

    @property
    def file(self) -> UploadFile:
        """The recording."""
        value = self._data.get("file")
        if not isinstance(value, UploadFile):
            raise Refused(400, "no file; send the recording as the form's field 'file'", param="file")
        return value


@contextlib.asynccontextmanager
async def form_of(request: Request, service: Service) -> AsyncIterator[Form]:
    """The form of a multipart request, its files removed at the end; they count as bytes on disk from the first on."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refused(415, "send the recording as multipart/form-data, in the field 'file'")
    share = Share(service.files.spool)
    try:
        share.grow(whole_number(request.headers.get("content-length", "")) or 0)
        counted = Request(request.scope, _counted(request.receive, share))
        try:
            with room_on_disk():
                data = await counted.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES)
        except ClientDisconnect:
            raise Refused(499, "the client went away") from None
        form = Form(data, share)
        try:
            yield form
        finally:
            await form.close()
    finally:
        share.end()


def whole_number(text: str) -> int | None:
    """The number that ASCII digits write, up to 18 of them; None for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def check_language(served: ServedModel, language: str | None) -> None:
    """Raise Refused where a model transcribes another language than the one asked for (BCP 47; None: any)."""
    own = served.model.spec.language
    if language and own and language.lower().split("-")[0] != own.lower().split("-")[0]:
        raise Refused(400, f"{served.name} transcribes {own}, not {language[:20]!r}", param="language")


def _counted(receive: Receive, share: Share) -> Receive:
    """Receive a body whose bytes are reserved as they come, where its length was not declared."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        share.grow(taken)
        return message

    return counted


@contextlib.asynccontextmanager
async def kept(service: Service, form: Form) -> AsyncIterator[Upload]:
    """The recording of a form as a file on disk; the form is closed, so that it is there once."""
    file = form.file
    name = Path((file.filename or "the recording").replace("\\", "/")).name[:_LONGEST_NAME] or "the recording"
    size = file.size or 0
    if size == 0:
        raise Refused(400, f"{name}: the file is empty", param="file")
    service.files.spool.reserve(size)
    try:
        # The ending says which kind it is where its bytes do not.
        suffix = Path(name).suffix.lower()
        with service.files.spool.file(suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else "") as path:

            def copy() -> None:
                file.file.seek(0)
                with path.open("wb") as output:
                    shutil.copyfileobj(file.file, output, 1 << 20)

            with room_on_disk():
                await asyncio.to_thread(copy)
            await form.close()
            yield Upload(path, name, size)
    finally:
        service.files.spool.release(size)


async def transcribe(
    service: Service,
    served: ServedModel,
    upload: Upload,
    decoder: WordDecoder | None = None,
    on_segment: Callable[[Segment], None] = lambda segment: None,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> Transcript:
    """The transcript of an upload; the callbacks are called on the event loop's thread.

    Where it is cancelled, no thread works at it once it ends: one that began ends within a chunk.
    """
    loop, cancelled = asyncio.get_running_loop(), threading.Event()

    def run() -> Transcript:
        return service.files.transcribe(
            served,
            upload.path,
            upload.name,
            cancelled,
            decoder=decoder,
            on_segment=lambda segment: _call(loop, on_segment, segment),
            on_progress=lambda done, total: _call(loop, on_progress, done, total),
        )

    work = service.workers.submit(run)
    job = asyncio.wrap_future(work)
    try:
        transcript = await asyncio.shield(job)
    except asyncio.CancelledError:
        cancelled.set()
        work.cancel()  # where no thread has begun it
        await ended(job)  # the file may be removed only after it
        raise
    service.metrics.received("files", transcript.seconds)
    service.said("file", transcript.text)
    return transcript


class EventResponse(StreamingResponse):
    """Server-sent events, and what is held for them, which is released also where the client left before the first."""

    def __init__(self, body: AsyncGenerator[str, None], held: contextlib.AsyncExitStack) -> None:
        """body: the events as text; it ends before ``held`` is closed."""
        super().__init__(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._body = body
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with self._held, contextlib.aclosing(self._body):
            await super().__call__(scope, receive, send)


async def ended(job: asyncio.Future[Result]) -> None:
    """Wait for the end of a job, whatever it is, also while the request that waits is cancelled by Starlette."""
    with anyio.CancelScope(shield=True):
        await asyncio.wait({job})
    if not job.cancelled():
        job.exception()  # asyncio logs an exception that is never read


async def transcribe_unless_gone(
    request: Request, service: Service, served: ServedModel, upload: Upload, decoder: WordDecoder | None
) -> Transcript:
    """The transcript of an upload; cancelled when the client disconnects, and Refused is raised."""
    job = asyncio.ensure_future(transcribe(service, served, upload, decoder))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({job, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise Refused(499, "the client disconnected")
        return job.result()
    finally:
        gone.cancel()
        job.cancel()
        await ended(job)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *values: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(function, *values)


async def hotwords(served: ServedModel, keywords: Sequence[str], most: int) -> WordDecoder | None:
    """A beam search that favours keywords; None without any. Raises Refused where they cannot be used.

    most: how many are taken. They are bounded in length too, and prepared in a thread: a hundred of 36 kB took 8 s.
    """
    words = tuple(word.strip() for value in keywords for word in value.split(",") if word.strip())
    if not words:
        return None
    if len(words) > most:
        raise Refused(400, f"{len(words)} keywords; at most {most} are taken", param="keywords")
    if long := next((word for word in words if len(word) > LONGEST_KEYWORD), None):
        raise Refused(
            400,
            f"keyword {long[:40]!r}… has {len(long)} characters; at most {LONGEST_KEYWORD} are taken",
            param="keywords",
        )
    return await asyncio.to_thread(_beam_search, served, words)


def _beam_search(served: ServedModel, words: Sequence[str]) -> WordDecoder:
    from ..runtime.errors import EngineError, InputError
    from ..runtime.text.language_model import BeamDecoder

    try:
        return BeamDecoder(served.model.spec, None, hotwords=words)
    except (EngineError, InputError) as error:
        raise Refused(400, str(error), param="keywords") from error
