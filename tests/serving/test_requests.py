"""Uploads whose client leaves: what was begun for it ends, and what waited for a thread does not keep its place."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.types import Message

from wav2edge.serving import requests
from wav2edge.serving.models import Catalogue
from wav2edge.serving.refusals import Refused
from wav2edge.serving.service import Service
from wav2edge.serving.uploads import Cancelled, Share

UPLOAD = requests.Upload(Path("talk.wav"), "talk.wav", 1)


class Work:
    """Stands for the transcription of a file: it runs until it is cancelled, and then for a while."""

    def __init__(self) -> None:
        self.began, self.ended, self.count = threading.Event(), threading.Event(), 0

    def __call__(self, served: object, path: Path, name: str, cancelled: threading.Event, **rest: object) -> None:
        self.count += 1
        self.began.set()
        assert cancelled.wait(20)
        threading.Event().wait(0.3)
        self.ended.set()
        raise Cancelled


@pytest.fixture
def service(catalogue: Catalogue) -> Iterator[Service]:
    service = Service(catalogue)
    yield service
    service.close()


def request_of(gone: asyncio.Event) -> Request:
    """A request whose client leaves when ``gone`` is set."""

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def test_a_cancelled_file_is_not_left_to_a_thread(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request ended at once: its file and its place were gone while a thread still computed."""
    work = Work()
    monkeypatch.setattr(service.files, "transcribe", work)

    async def run() -> None:
        served: Any = SimpleNamespace()
        job = asyncio.ensure_future(requests.transcribe(service, served, UPLOAD))
        await asyncio.to_thread(work.began.wait, 20)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert work.ended.is_set()

    asyncio.run(run())


def test_a_client_that_leaves_frees_its_place_in_the_queue(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept its place and its upload until the files before it were done, and clients that stayed were refused."""
    work, count = Work(), service.workers._max_workers
    monkeypatch.setattr(service.files, "transcribe", work)

    async def run() -> None:
        served: Any = SimpleNamespace()
        gone = [asyncio.Event() for _ in range(count + 1)]
        jobs = []
        for each in gone:
            unless = requests.transcribe_unless_gone(request_of(each), service, served, UPLOAD, None)
            jobs.append(asyncio.ensure_future(unless))
            await asyncio.sleep(0)
        while work.count < count:
            await asyncio.sleep(0.01)
        gone[-1].set()
        with pytest.raises(Refused, match="the client disconnected"):
            await asyncio.wait_for(jobs[-1], 10)
        assert not any(job.done() for job in jobs[:-1])
        for each in gone:
            each.set()
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        assert all(isinstance(error, Refused) for error in ended) and work.count == count

    asyncio.run(run())


def test_keywords_hold_up_no_other_client(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """One upload with a hundred long keywords held the event loop for 20 s, and live streams were closed."""
    began, go = threading.Event(), threading.Event()

    def search(*_: object, **__: object) -> object:
        began.set()
        assert go.wait(20)
        return object()

    monkeypatch.setattr("wav2edge.runtime.text.language_model.BeamDecoder", search)

    async def run() -> None:
        job = asyncio.ensure_future(requests.hotwords(catalogue.models[0], ["latte,oat milk"], 100))
        assert await asyncio.to_thread(began.wait, 20)
        go.set()
        assert await job is not None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "suffix"), [("talk.MP3", ".mp3"), ("talk", ""), ("a.b c", ""), ("x.mp3/..", ""), (".m4a", "")]
)
def test_an_upload_keeps_the_ending_of_its_name(service: Service, name: str, suffix: str) -> None:
    """MP3s that begin within a frame were decoded without their structure, which moved times and hid damage."""

    async def run() -> None:
        spool = service.files.spool
        data = FormData([("file", UploadFile(io.BytesIO(b"1234"), size=4, filename=name))])
        async with requests.kept(service, requests.Form(data, Share(spool))) as upload:
            assert upload.path.parent == spool.path and upload.path.suffix == suffix
            assert upload.path.read_bytes() == b"1234"
        assert spool.held == 0 and not list(spool.path.iterdir())

    asyncio.run(run())


@pytest.mark.parametrize("begun", [False, True])
def test_events_release_what_they_hold(begun: bool) -> None:
    """Where a client left before the first event, its upload and its place among the recordings were held for good."""
    order: list[str] = []

    async def body() -> AsyncGenerator[str, None]:
        try:
            yield "data: 1"
            await asyncio.sleep(20)
        finally:
            order.append("body")

    async def run() -> None:
        gone, held = asyncio.Event(), contextlib.AsyncExitStack()
        held.callback(order.append, "held")

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if begun == (message["type"] == "http.response.body"):
                gone.set()
                await asyncio.sleep(20)

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        await asyncio.wait_for(requests.EventResponse(body(), held)(scope, receive, send), 10)

    asyncio.run(run())
    assert order == (["body", "held"] if begun else ["held"])
