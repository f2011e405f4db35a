"""What all protocols of a server share: models, queue, files, limits, counts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from . import memory
from .files import Files
from .limits import Limits
from .metrics import Metrics
from .models import Catalogue, ServedModel
from .refusals import Refused
from .scheduler import Scheduler
from .streams import CaptionStream

if TYPE_CHECKING:
    from .sockets import Outbox

_FILES_AT_ONCE = 8  # recordings whose chunks are queued at the same time; more would only hold memory


class Service:
    """The parts of a running server; ``start`` it, ``stop`` it in order, ``close`` it."""

    def __init__(self, catalogue: Catalogue, limits: Limits | None = None, log_text: bool = False) -> None:
        """catalogue: the models, which the caller closes. log_text: whether the log has what was said."""
        self.catalogue = catalogue
        self.limits = limits or Limits()
        self.scheduler = Scheduler(catalogue.settings)
        self.files = Files(self.scheduler, self.limits)
        self.metrics = Metrics()
        self.workers = ThreadPoolExecutor(_FILES_AT_ONCE, "wav2edge-file")
        self.stopping = asyncio.Event()
        self.subscribers: dict[str, set[Outbox]] = {}
        self.log_text = log_text
        self.log = logging.getLogger("wav2edge.serving")
        self._most_memory = self.limits.memory_bytes or memory.bound()
        self._lock = threading.Lock()
        self._files = 0
        self._streams: Counter[str] = Counter()

    def start(self) -> None:
        """Start the scheduler."""
        self.scheduler.start()

    def close(self) -> None:
        """End everything at once."""
        self.scheduler.close()
        self.workers.shutdown(wait=True, cancel_futures=True)
        self.files.close()

    @property
    def busy(self) -> bool:
        """Whether a recording or a stream is being served."""
        return self._files > 0 or sum(self._streams.values()) > 0

    @property
    def files_now(self) -> int:
        """Recordings uploaded, waiting or being transcribed."""
        return self._files

    def model(self, name: str | None) -> ServedModel:
        """The model of a name; raises Refused (404) where there is none."""
        found = self.catalogue.get(name)
        if found is None:
            there = ", ".join(self.catalogue.names)
            raise Refused(404, f"no model {name!r}; this server has {there}", code="model_not_found", param="model")
        return found

    @contextlib.contextmanager
    def file_place(self) -> Iterator[None]:
        """A place among the recordings; raises Refused where there is none."""
        self._admit()
        with self._lock:
            if self._files >= self.limits.files:
                raise Refused(503, f"{self._files} recordings are waiting; try again later", retry=10)
            self._files += 1
        try:
            yield
        finally:
            with self._lock:
                self._files -= 1

    @contextlib.contextmanager
    def stream_place(self, client: str) -> Iterator[None]:
        """A place among the live streams, for a client's address; raises Refused where there is none."""
        self._admit()
        with self._lock:
            if sum(self._streams.values()) >= self.limits.streams:
                raise Refused(503, f"all {self.limits.streams} live streams are taken; try again later", retry=30)
            if self._streams[client] >= self.limits.streams_per_client:
                raise Refused(
                    429, f"this address has {self._streams[client]} live streams already; end one of them first"
                )
            self._streams[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams[client] -= 1
                if not self._streams[client]:
                    del self._streams[client]

    def said(self, kind: Literal["file", "stream"], text: str) -> None:
        """Log the text of a file or of an utterance, where that was asked for."""
        if self.log_text:
            self.log.info("text", extra={"fields": {"kind": kind, "text": text}})

    def add(self, stream: CaptionStream) -> None:
        """Add a stream to the scheduler."""
        self.scheduler.add(stream)

    def _admit(self) -> None:
        if self.stopping.is_set():
            raise Refused(503, "the server is stopping; try again later", retry=10)
        if memory.resident() > self._most_memory:
            raise Refused(503, "the server is short of memory; try again later", retry=10)
