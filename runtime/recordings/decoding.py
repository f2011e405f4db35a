"""From the logits of one recording's chunks to words, segments and a transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..audio.read import Recording
from ..bundle.spec import ModelSpec
from ..heads import ctc
from ..heads.frame_classification import Turn
from ..text.transcript import Segment, Transcript, Word
from .chunking import Chunk, Stitcher
from .segmentation import Segmentation, Segmenter, Span

WordDecoder = Callable[[NDArray[np.float32], ModelSpec, int], list[Word]]
"""From logits [frames, labels], the spec and the absolute first frame to words: ctc.greedy, or a beam search."""

Timed = TypeVar("Timed", Word, Turn)


class Decoding:
    """Decodes one recording's logits to segments as they come; ``Transcriber.decoding`` makes one."""

    def __init__(
        self, spec: ModelSpec, decoder: WordDecoder, segmentation: Segmentation, recording: Recording | None = None
    ) -> None:
        """Prepare for one recording, whose completeness and warnings become the transcript's."""
        assert spec.blank is not None
        self.samples = 0
        self._spec = spec
        self._decoder = decoder
        self._stitcher = Stitcher(spec.blank)
        self._segmenter = Segmenter(spec, segmentation)
        self._segments: list[Segment] = []
        self._recording = recording

    @property
    def seconds(self) -> float:
        """The seconds of the recording that were pushed."""
        return self.samples / self._spec.sample_rate

    def push(self, chunk: Chunk, logits: NDArray[np.float32]) -> list[Segment]:
        """Take the next chunk and its logits [frames, labels]; returns the segments that are complete now."""
        covered = len(chunk.samples) if chunk.covered is None else chunk.covered
        self.samples = chunk.first_frame * self._spec.stride + covered
        spans = self._segmenter.push(self._stitcher.push(chunk, logits))
        if chunk.next_frame is None:
            spans += self._segmenter.finish()
        complete = [segment for span in spans if (segment := self._segment(span)) is not None]
        self._segments += complete
        return complete

    def transcript(self) -> Transcript:
        """Everything so far; the whole recording once its last chunk was pushed."""
        words = tuple(word for segment in self._segments for word in segment.words)
        return Transcript(
            ctc.joined(words, self._spec),
            self.seconds,
            words,
            tuple(self._segments),
            self._spec.language,
            complete=self._recording is None or self._recording.complete,
            channel="mix" if self._recording is None else self._recording.channel,
            warnings=self._recording.warnings if self._recording is not None else (),
            offset=None if self._recording is None else self._recording.offset,
        )

    def _segment(self, span: Span) -> Segment | None:
        words = placed(self._decoder(span.logits, self._spec, span.first_frame), self._recording)
        if not words:
            return None
        return Segment(ctc.joined(words, self._spec), words[0].start, words[-1].end, words)


def placed(timed: Iterable[Timed], recording: Recording | None) -> tuple[Timed, ...]:
    """Words or turns with the times of the whole recording, where it is a part of one."""
    offset = None if recording is None else recording.offset
    if not offset:
        return tuple(timed)
    return tuple(replace(each, start=round(each.start + offset, 3), end=round(each.end + offset, 3)) for each in timed)
