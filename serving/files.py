"""Recordings through the scheduler: decoded in a process, cut into chunks, stitched back to a transcript."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

from ..runtime.recordings.chunking import Chunk
from ..runtime.recordings.decoding import Decoding, WordDecoder
from ..runtime.text.transcript import Segment, Transcript
from .limits import Limits
from .models import ServedModel
from .refusals import Refused
from .scheduler import Scheduler
from .uploads import Cancelled, Decoders, Spool
from .waiting import Logits

_SHARE = 0.05
"""How much later a chunk's deadline is for each second of its recording before it, so that short recordings come before
long ones."""

OnSegment = Callable[[Segment], None]
OnProgress = Callable[[float, float], None]
"""Called with the seconds that are done, and the recording's length."""


class Files:
    """Transcribes uploaded recordings; ``transcribe`` blocks, and any thread may call it."""

    def __init__(self, scheduler: Scheduler, limits: Limits, decoders: int = 2) -> None:
        """decoders: how many recordings are decoded at once."""
        self.limits = limits
        self.spool = Spool(limits)
        self.decoders = Decoders(decoders, limits.recording_seconds)
        self._scheduler = scheduler

    def transcribe(
        self,
        served: ServedModel,
        path: Path,
        name: str,
        cancelled: threading.Event,
        *,
        decoder: WordDecoder | None = None,
        on_segment: OnSegment = lambda segment: None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> Transcript:
        """The transcript of a file; raises Refused, EngineError, and Cancelled once ``cancelled`` is set.

        name: its name in messages. decoder: how logits become words (None: as the model's Transcriber does).
        """
        began = time.monotonic()
        transcriber = served.transcriber
        with self.spool.file(".f32") as output:
            decoded = self.decoders.decode(path, name, output, transcriber.spec.sample_rate, cancelled)
            size = output.stat().st_size
            self.spool.reserve(size)
            try:
                recording = decoded.recording()
                decoding = Decoding(
                    transcriber.spec, decoder or transcriber.decoder, transcriber.segmentation, recording
                )
                self._run(
                    served, decoding, transcriber.chunks(recording), began, cancelled, on_segment,
                    lambda done: on_progress(done, decoded.seconds),
                )  # fmt: skip
                return decoding.transcript()
            finally:
                self.spool.release(size)

    def _run(
        self,
        served: ServedModel,
        decoding: Decoding,
        chunks: Iterator[Chunk],
        began: float,
        cancelled: threading.Event,
        on_segment: OnSegment,
        on_progress: Callable[[float], None],
    ) -> None:
        """Keep a few chunks in the queue, and take their logits in order."""
        ahead = 2 * self._scheduler.settings.lanes if self._scheduler.settings.batch_seconds <= 0 else 16
        waiting: deque[tuple[Chunk, Future[Logits]]] = deque()
        try:
            while True:
                while len(waiting) < ahead and (chunk := next(chunks, None)) is not None:
                    before = chunk.first_frame * served.transcriber.spec.stride / served.transcriber.spec.sample_rate
                    future = self._scheduler.submit(served.transcriber, chunk, began + _SHARE * before)
                    waiting.append((chunk, future))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                logits = _result(future, cancelled)
                for segment in decoding.push(chunk, logits):
                    on_segment(segment)
                on_progress(decoding.seconds)
        finally:
            for _, future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the decoders and remove what was uploaded."""
        self.decoders.close()
        self.spool.close()


def _result(future: Future[Logits], cancelled: threading.Event) -> Logits:
    while True:
        if cancelled.is_set():
            future.cancel()
            raise Cancelled
        with contextlib.suppress(FutureTimeout):
            try:
                return future.result(timeout=0.2)
            except CancelledError:
                raise Refused(503, "the server is stopping; try again later", retry=5) from None
