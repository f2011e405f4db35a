"""A server's parts on the embedded model, and real speech."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import wav2edge
from wav2edge.runtime.audio import read
from wav2edge.runtime.live.events import Event, Final
from wav2edge.runtime.live.sources import FileSource
from wav2edge.serving.limits import Limits
from wav2edge.serving.models import Catalogue, open_models
from wav2edge.serving.server import Server, ServerOptions
from wav2edge.serving.service import Service
from wav2edge.serving.streams import CaptionStream


@pytest.fixture(scope="session")
def catalogue() -> Iterator[Catalogue]:
    """The embedded model, for two lanes of one thread each."""
    opened = open_models((), threads=2)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def recordings(clips: list[tuple[Path, str]]) -> list[Path]:
    """Four recordings of different lengths."""
    return [path for path, _ in clips][:4]


@pytest.fixture(scope="session")
def listened(recordings: list[Path]) -> dict[Path, str]:
    """What ``listen`` makes of each recording."""
    texts = {}
    for path in recordings:
        with wav2edge.listen(source=FileSource(path, fast=True)) as events:
            texts[path] = text_of(list(events))
    return texts


def text_of(events: Sequence[Event]) -> str:
    """The text of all finals."""
    return " ".join(event.text for event in events if isinstance(event, Final))


class Listener:
    """Collects what a stream emits; ``done`` is set when it is over."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self.done = threading.Event()

    def emit(self, events: Sequence[Event]) -> None:
        self.events += events

    def ended(self, error: BaseException | None) -> None:
        self.error = error
        self.done.set()


def blocks_of(path: Path, seconds: float = 0.1) -> list[NDArray[np.float32]]:
    """A recording in pieces, as a client sends them."""
    samples = read.load(path, 16000)
    size = round(seconds * 16000)
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def opened(catalogue: Catalogue) -> tuple[CaptionStream, Listener]:
    """A stream of the first model, and what listens to it."""
    listener = Listener()
    return CaptionStream(catalogue.models[0].live, listener.emit, listener.ended), listener


class Running:
    """A server that runs in a thread of the test's process."""

    def __init__(self, catalogue: Catalogue, options: ServerOptions, limits: Limits | None = None) -> None:
        self.server = Server(catalogue, options, limits)
        self.url = self.server.address
        self.service: Service
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self.server.run, args=(self._ready.set, (self._hold,)), daemon=True)

    async def _hold(self, service: Service) -> None:
        self.service = service
        await asyncio.Event().wait()

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._thread.join(20)
        assert not self._thread.is_alive(), "it did not stop"


@pytest.fixture(scope="session")
def server(catalogue: Catalogue) -> Iterator[Running]:
    """A server without a token, on this machine only."""
    with Running(catalogue, ServerOptions(port=0)) as running:
        yield running
