"""Uploaded recordings: stored on disk within bounds, and decoded by processes that may crash."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..runtime import children
from ..runtime.audio.read import BLOCK_SECONDS, Recording
from ..runtime.audio.tracks import Problems
from ..runtime.files import staging
from .decode_worker import Answer, Request
from .limits import Limits
from .refusals import Refused

_POLL = 0.1  # seconds between two checks whether a request was cancelled
_PACE = 0.2  # seconds of decoding that a second of sound may take, besides _LEAST
_LEAST = 60.0


class Cancelled(Exception):
    """The client disconnected."""


class Spool:
    """A folder for uploads, with a bound on what is in it."""

    def __init__(self, limits: Limits) -> None:
        """Make the folder; close it to remove it. Those of servers that were killed are removed at once."""
        self._folder = contextlib.ExitStack()
        self.path = self._folder.enter_context(staging(Path(tempfile.gettempdir()) / "wav2edge-uploads"))
        self._limits = limits
        self._lock = threading.Lock()
        self._names = 0
        self.held = 0

    def reserve(self, count: int) -> None:
        """Reserve bytes; raises Refused where the bound is reached."""
        with self._lock:
            if self.held + count > self._limits.spool_bytes:
                raise Refused(503, "too many recordings are being transcribed; try again later", retry=10)
            self.held += count

    def release(self, count: int) -> None:
        """Release reserved bytes."""
        with self._lock:
            self.held -= count

    @contextlib.contextmanager
    def file(self, suffix: str = "") -> Iterator[Path]:
        """The name of a file that is removed at the end."""
        with self._lock:
            self._names += 1
            path = self.path / f"{self._names}{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.close()


class Share:
    """The bytes of one upload that are reserved in a spool while they arrive."""

    def __init__(self, spool: Spool) -> None:
        """Begin with none; ``end`` it."""
        self._spool = spool
        self._count = 0

    def grow(self, count: int) -> None:
        """Reserve ``count`` bytes in all, unless as many are reserved; raises Refused where the bound is reached."""
        if count > self._count:
            self._spool.reserve(count - self._count)
            self._count = count

    def end(self) -> None:
        """Release them."""
        self._spool.release(self._count)
        self._count = 0


@dataclass(frozen=True)
class Decoded:
    """A recording's samples in a file of float32 at the model's rate, with its length and warnings."""

    path: Path
    name: str
    rate: int
    answer: Answer

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.answer["samples"] / self.rate

    def recording(self) -> Recording:
        """The same as every recording is opened."""
        problems = Problems(self.answer["complete"], list(self.answer["warnings"]))
        return Recording(
            self.name, self.seconds, self._blocks(), self._blocks, self.answer["channels"], problems=problems
        )

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        size = round(BLOCK_SECONDS * self.rate)
        with self.path.open("rb") as file:
            while len(block := np.fromfile(file, "<f4", size)):
                yield block


class Decoders:
    """Processes that decode, started on first use and again when one is lost."""

    def __init__(self, count: int, longest: float) -> None:
        """count: how many at once. longest: of a recording, s."""
        self._longest = longest
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        self.lost = 0
        for _ in range(count):
            self._idle.put(None)
        self._count = count

    def decode(self, path: Path, name: str, output: Path, rate: int, cancelled: threading.Event) -> Decoded:
        """Decode a file to ``output``; raises Refused where that cannot be, Cancelled where it was cancelled."""
        process = self._taken(cancelled)
        try:
            if process is None or process.poll() is not None:
                process = _start()
            request = Request(
                path=str(path), name=name, output=str(output), rate=rate, longest=self._longest, channel="mix"
            )
            answer = self._ask(process, request, cancelled)
        except BaseException:
            if process is not None:
                _end(process)
            self._idle.put(None)
            raise
        self._idle.put(process)
        if answer["error"]:
            if answer["status"] == 503:
                raise Refused(503, answer["error"], retry=10)
            raise Refused(answer["status"], answer["error"], param="file")
        return Decoded(output, name, rate, answer)

    def close(self) -> None:
        """End the processes."""
        for _ in range(self._count):
            with contextlib.suppress(queue.Empty):
                process = self._idle.get_nowait()
                if process is not None:
                    _end(process)

    def _taken(self, cancelled: threading.Event) -> subprocess.Popen[bytes] | None:
        while True:
            if cancelled.is_set():
                raise Cancelled
            with contextlib.suppress(queue.Empty):
                return self._idle.get(timeout=_POLL)

    def _ask(self, process: subprocess.Popen[bytes], request: Request, cancelled: threading.Event) -> Answer:
        name = request["name"]
        lost = Refused(422, f"{name}: decoding it failed; convert it to WAV or FLAC and try again", param="file")
        stdin, stdout = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            self.lost += 1
            raise lost from None
        line, deadline = b"", time.monotonic() + _LEAST + _PACE * self._longest
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if cancelled.is_set():
                    raise Cancelled
                if time.monotonic() > deadline:
                    self.lost += 1
                    raise Refused(422, f"{name}: decoding it takes too long; convert it to WAV and try again")
                if selector.select(_POLL):
                    data = os.read(stdout.fileno(), 65536)
                    if not data:
                        self.lost += 1
                        raise lost
                    line += data
        return cast(Answer, json.loads(line))


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        children.module("wav2edge.serving.decode_worker"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the server, which finishes its files
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
