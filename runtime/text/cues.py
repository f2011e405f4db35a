"""Words laid out as subtitle cues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .. import escape
from .formats import CaptionLayout
from .transcript import Segment, Transcript, Word

_TIMING = re.compile(r"(\d)[ ]*-->")


@dataclass(frozen=True)
class Cue:
    """What is shown at once: ``lines`` from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues(transcript: Transcript, layout: CaptionLayout) -> list[Cue]:
    """A transcript as cues in order, none overlapping the next, none beyond the end of what was read.

    A cue never crosses the end of a segment. A shorter one stays for ``layout.shortest_cue``, or until the next begins.
    """
    laid_out = [cue for segment in transcript.segments for cue in _split(segment.words, layout, _gap(segment))]
    return [
        replace(cue, end=max(cue.end, min(cue.start + layout.shortest_cue, limit)))
        for cue, limit in zip(laid_out, [*(cue.start for cue in laid_out[1:]), transcript.end])
    ]


def _gap(segment: Segment) -> str:
    """What is written between its words: nothing in a language that has no gaps."""
    words = [word.text for word in segment.words]
    return "" if len(words) > 1 and segment.text == "".join(words) else " "


def _split(words: Sequence[Word], layout: CaptionLayout, gap: str) -> Iterator[Cue]:
    lines: list[list[str]] = [[]]
    inside: list[Word] = []
    for word in words:
        shown = _shown(word.text)
        if not shown:
            continue
        width = sum(escape.columns(text) + len(gap) for text in lines[-1]) + escape.columns(shown)
        too_wide = bool(lines[-1]) and width > layout.max_line_width
        full = too_wide and len(lines) == layout.max_line_count
        if inside and (full or len(inside) == layout.max_words_per_cue):
            yield _cue(inside, lines, gap)
            lines, inside = [[]], []
        elif too_wide:
            lines.append([])
        lines[-1].append(shown)
        inside.append(word)
    if inside:
        yield _cue(inside, lines, gap)


def _shown(text: str) -> str:
    """A word as a subtitle may hold it: on one line, without cue timings and control characters."""
    return _TIMING.sub(r"\1 ->", escape.one_line(text))


def _cue(words: Sequence[Word], lines: Sequence[Sequence[str]], gap: str) -> Cue:
    return Cue(words[0].start, words[-1].end, tuple(gap.join(line) for line in lines))


def timestamp(seconds: float, mark: str) -> str:
    """Seconds as ``HH:MM:SS,mmm``, with ``mark`` before the milliseconds."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"
