"""How good a live session was: what its events were worth beside a pass over each whole clip.

The definitions, all from the time at which an event left the session:
first text      from the start of the clip's first word (whole-clip pass) to the first Partial with text
emission        from the end of a final's word to the first Partial, or the Final, that had it
stable          the same for the first Partial that called it stable
finalisation    from the end of speech, as the detector heard it, to the Final
UPWR            of the words of Partials that were followed by another word, the share that later changed (after the
                unstable partial word ratio of Shangguan et al., "Analyzing the Quality and Stability of a Streaming
                End-to-End On-Device Speech Recognizer", 2020)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np

from ..runtime.live.events import Dropped, Event, Final, Partial, Silence, Stats


@dataclass(frozen=True)
class Timed:
    """An event and when it left the session, in seconds of the stream."""

    event: Event
    at: float


@dataclass
class Utterances:
    """What the events of a session say about its latency and its steadiness; feed it with ``add``.

    first_text: of each utterance with text, when and where (start, emitted). emissions, settled (words that became
    stable), finalisations: seconds.
    """

    first_text: list[tuple[float, float]] = field(default_factory=list)
    emissions: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    finalisations: list[float] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    completed: int = 0
    changed: int = 0
    stable_changed: int = 0
    revised: int = 0
    dropped: float = 0.0
    hop_times: list[float] = field(default_factory=list)
    _partials: list[Timed] = field(default_factory=list)
    _last_final: Timed | None = None

    def add(self, timed: Timed) -> None:
        """Take the next event."""
        event = timed.event
        if isinstance(event, Partial):
            if event.text and not any(self._text(old) for old in self._partials):
                self.first_text.append((event.start, timed.at))
            self._partials.append(timed)
        elif isinstance(event, Final):
            self._final(timed, event)
        elif isinstance(event, Silence) and self._last_final is not None:
            self.finalisations.append(self._last_final.at - event.start)
        elif isinstance(event, Dropped):
            self.dropped += event.seconds
        elif isinstance(event, Stats):
            self.hop_times.append(event.hop_time)

    @property
    def upwr(self) -> float:
        """The share of followed partial words that later changed; NaN without any."""
        return self.changed / self.completed if self.completed else float("nan")

    def _final(self, timed: Timed, final: Final) -> None:
        self._last_final = timed
        self.finals.append(final)
        self.revised += final.revised
        words = [word.text for word in final.words]
        emitted, settled = [timed.at] * len(words), [timed.at] * len(words)
        followed: list[str] = []
        stable: list[str] = []
        for partial in self._partials:
            assert isinstance(partial.event, Partial)
            now = partial.event.stable.split()
            self.stable_changed += now[: len(stable)] != stable
            stable = now
            shown = partial.event.text.split()
            followed = self._follow(followed, shown, shown[:-1])
            for index in _matches(shown, words):
                emitted[index] = min(emitted[index], partial.at)
            for index in _matches(stable, words):
                settled[index] = min(settled[index], partial.at)
        self._follow(followed, words, words)
        self.emissions += [at - word.end for at, word in zip(emitted, final.words)]
        self.settled += [at - word.end for at, word in zip(settled, final.words)]
        self._partials.clear()

    def _follow(self, before: Sequence[str], shown: Sequence[str], followed: Sequence[str]) -> list[str]:
        kept = len(_matches(before, shown))
        self.changed += len(before) - kept
        self.completed += max(0, len(followed) - kept) if followed is not shown else 0
        return list(followed)

    @staticmethod
    def _text(timed: Timed) -> bool:
        return isinstance(timed.event, Partial) and bool(timed.event.text)


def _matches(shown: Sequence[str], words: Sequence[str]) -> list[int]:
    """Which words (indices) a hypothesis has, in order."""
    blocks = SequenceMatcher(None, shown, words, autojunk=False).get_matching_blocks()
    return [index for block in blocks for index in range(block.b, block.b + block.size)]


def percentiles(values: Iterable[float]) -> tuple[float, float]:
    """The median and the 95th percentile; NaN for none."""
    kept = list(values)
    if not kept:
        return float("nan"), float("nan")
    median, high = np.percentile(kept, (50, 95))
    return float(median), float(high)
