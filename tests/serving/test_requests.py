"""Uploads whose client leaves: what was begun for it ends, and what waited for a thread does not keep its place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from wav2edge.serving import requests
from wav2edge.serving.models import Catalogue
from wav2edge.serving.refusals import Refused
from wav2edge.serving.service import Service
from wav2edge.serving.uploads import Cancelled

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
