"""Cut a recording's frames into segments at pauses, as they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec
from ..errors import InputError
from ..heads import ctc


@dataclass(frozen=True)
class Segmentation:
    """Where segments end."""

    pause: float = 0.6
    """Seconds without a label, between two words, that end a segment; default 0.6."""

    longest: float = 30.0
    """Seconds after which a segment is cut at its longest pause, however short; default 30."""

    word_gap: float = ctc.WORD_GAP
    """Seconds without a label after which the next one begins another word; default 0.5 (heads/ctc.py says why)."""

    def __post_init__(self) -> None:
        """Raises InputError for lengths that make no segments."""
        if not (self.pause > 0.0 and 2 * self.pause <= self.longest < float("inf")):
            raise InputError(
                f"pause {self.pause:g} s with segments up to {self.longest:g} s: "
                "the pause must be above 0, and at most half of the longest segment, which is finite"
            )
        ctc.check_gap(self.word_gap)


@dataclass(frozen=True)
class Span:
    """Consecutive frames of a recording: logits [frames, labels] from ``first_frame`` on."""

    logits: NDArray[np.float32]
    first_frame: int


class Segmenter:
    """Takes frames in any portions and returns spans that hold speech; the cuts do not depend on the portions."""

    def __init__(self, spec: ModelSpec, segmentation: Segmentation) -> None:
        """Prepare for one recording."""
        seconds = spec.stride / spec.sample_rate
        self._pause = max(1, round(segmentation.pause / seconds))
        self._longest = max(2 * self._pause, round(segmentation.longest / seconds))
        self._word_gap = ctc.frames_of(min(segmentation.word_gap, segmentation.longest), spec)
        silent = {spec.blank} | {i for i, s in enumerate(spec.labels) if s in spec.options(ctc.Options).silent}
        pieces = spec.tokenizer == "piece"
        between: set[int | None] = set() if pieces else silent  # without a word delimiter every label is a word
        if spec.delimiter in spec.labels:
            between = {spec.labels.index(spec.delimiter)}
        self._silent = np.array([index in silent | between for index in range(len(spec.labels))])
        self._between = np.array([index in between for index in range(len(spec.labels))])
        self._opening = np.array([pieces and label.startswith(ctc.PIECE) for label in spec.labels])
        self._pending: list[NDArray[np.float32]] = []
        self._spoken = np.zeros(0, dtype=bool)
        self._begins = np.zeros(0, dtype=bool)  # frames with another label than the frame before
        self._parts = np.zeros(0, dtype=bool)  # frames that separate words, or begin one
        self._last = -1
        self._first = 0

    def push(self, logits: NDArray[np.float32]) -> list[Span]:
        """Take the next frames [frames, labels]; returns the spans that are complete now."""
        self._pending.append(logits)
        best = logits.argmax(axis=1)
        begins = np.diff(best, prepend=self._last) != 0
        self._last = int(best[-1]) if len(best) else self._last
        self._spoken = np.concatenate((self._spoken, ~self._silent[best]))
        self._begins = np.concatenate((self._begins, begins))
        self._parts = np.concatenate((self._parts, self._between[best] | (self._opening[best] & begins)))
        spans = []
        while (cut := self._cut()) is not None:
            spans += self._take(cut)
        return spans

    def finish(self) -> list[Span]:
        """The last span, when the recording is over."""
        return self._take(len(self._spoken))

    def _cut(self) -> int | None:
        """Where the pending frames are to be cut, if they can be."""
        spoken = np.flatnonzero(self._spoken)
        half = self._pause // 2
        if len(spoken) == 0:  # silence so far: keep what may belong to the next word
            return len(self._spoken) - half if len(self._spoken) > self._pause else None
        if spoken[0] > half:
            return int(spoken[0]) - half
        # Nothing beyond this frame is looked at, so that the cuts depend on the recording alone.
        end = min(len(self._spoken), self._longest + self._pause)
        places = np.concatenate((spoken[spoken < end], [end]))
        gaps = np.diff(places) - 1
        parted = np.cumsum(np.concatenate((self._parts[:end], [False])))
        # A pause inside a word does not end a segment, but one that is too long for a word separates two.
        parts_words = (parted[places[1:]] > parted[places[:-1]]) | (gaps > self._word_gap)
        cuts = places[:-1] + 1 + half
        wide = np.flatnonzero((gaps >= self._pause) & parts_words & (cuts <= self._longest))
        if len(wide):
            return int(cuts[wide[0]])
        if end < self._longest + self._pause:
            return None
        inside = np.flatnonzero((places[:-1] >= self._longest // 2) & (places[:-1] < self._longest - 1))
        if len(inside) == 0:
            return self._longest
        gaps = np.minimum(places[1:], self._longest) - places[:-1] - 1
        same = ~np.append(self._begins[:end], True)[places[1:]]  # frames of one label, which the cut would repeat
        order = np.lexsort((-gaps[inside], same[inside], ~parts_words[inside], gaps[inside] < self._pause))
        best = inside[order[0]]
        return int(places[best]) + 1 + int(gaps[best]) // 2

    def _take(self, cut: int) -> list[Span]:
        if cut == 0:
            return []
        rows = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
        has_speech = bool(self._spoken[:cut].any())
        span = Span(rows[:cut], self._first)
        self._pending = [rows[cut:].copy()]  # a view would keep everything before it in memory
        self._spoken = self._spoken[cut:]
        self._begins = self._begins[cut:]
        self._parts = self._parts[cut:]
        self._first += cut
        return [span] if has_speech else []
