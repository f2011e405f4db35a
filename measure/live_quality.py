"""The delays of a live session's captions and how often they changed, from its events.

The definitions, all from the time at which an event left the session:
first text      from the start of the clip's first word (in one pass over the clip) to the first Partial with text
emission        from the end of a final's word to the first Partial, or the Final, that contained it
stable          the same for the first Partial that called it stable
finalisation    from the end of speech, by the speech detector, to the Final
UPWR            of the words of Partials that were followed by another word, the share that later changed (after the
                unstable partial word ratio of Shangguan et al., "Analyzing the Quality and Stability of a Streaming
                End-to-End On-Device Speech Recognizer", 2020)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from ..runtime.live.events import Dropped, Event, Final, Partial, Silence, Stats


@dataclass(frozen=True)
class TimedEvent:
    """An event and when it left the session, in seconds of the stream."""

    event: Event
    at: float


@dataclass
class LiveQuality:
    """The delays and the revisions of a session's captions; ``add`` its events in order.

    The delays are seconds, one for each utterance or word.
    """

    first_text: list[tuple[float, float]] = field(default_factory=list)
    """Of each utterance with text: its start, and when its first text was shown."""

    emissions: list[float] = field(default_factory=list)
    """Of each word in finals: from its end to its first showing."""

    settled: list[float] = field(default_factory=list)
    """Of each word in finals: from its end to the first Partial that called it stable."""

    finalisations: list[float] = field(default_factory=list)
    """Of each utterance followed by silence: from the end of speech to its Final."""

    finals: list[Final] = field(default_factory=list)
    """The finals."""

    completed: int = 0
    """Words of Partials that were followed by another word."""

    changed: int = 0
    """Those of them that later changed."""

    stable_changed: int = 0
    """Partials whose stable text did not continue that of the one before."""

    revised: int = 0
    """Stable words that finals changed or dropped."""

    dropped: float = 0.0
    """Seconds of sound that were lost."""

    hop_times: list[float] = field(default_factory=list)
    """Computing time of a window at each Stats, s."""
    _partials: list[TimedEvent] = field(default_factory=list)
    _last_final: TimedEvent | None = None

    def add(self, timed: TimedEvent) -> None:
        """Take the next event."""
        event = timed.event
        if isinstance(event, Partial):
            if event.text and not any(self._text(old) for old in self._partials):
                self.first_text.append((event.start, timed.at))
            self._partials.append(timed)
        elif isinstance(event, Final):
            self._final(timed, event)
        elif isinstance(event, Silence) and self._last_final is not None:
            delay = self._last_final.at - event.start
            if delay >= 0:  # else the silence follows sound without words, which had no Final
                self.finalisations.append(delay)
            self._last_final = None
        elif isinstance(event, Dropped):
            self.dropped += event.seconds
        elif isinstance(event, Stats):
            self.hop_times.append(event.hop_time)

    @property
    def upwr(self) -> float:
        """The share of followed partial words that later changed; NaN without any."""
        return self.changed / self.completed if self.completed else float("nan")

    def _final(self, timed: TimedEvent, final: Final) -> None:
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
            followed = self._follow(followed, shown)
            for index in _matches(shown, words):
                emitted[index] = min(emitted[index], partial.at)
            for index in _matches(stable, words):
                settled[index] = min(settled[index], partial.at)
        self.changed += len(followed) - len(_matches(followed, words))
        self.emissions += [at - word.end for at, word in zip(emitted, final.words)]
        self.settled += [at - word.end for at, word in zip(settled, final.words)]
        self._partials.clear()

    def _follow(self, before: Sequence[str], shown: Sequence[str]) -> list[str]:
        """The words of a Partial that were followed by another, in it or before; before: those of the one before."""
        still = _matches(before, shown)
        self.changed += len(before) - len(still)
        followed = shown[: max([len(shown) - 1, *(index + 1 for index in still)])]
        self.completed += len(followed) - len(still)
        return list(followed)

    @staticmethod
    def _text(timed: TimedEvent) -> bool:
        return isinstance(timed.event, Partial) and bool(timed.event.text)


def _matches(shown: Sequence[str], words: Sequence[str]) -> list[int]:
    """Which words (indices) a hypothesis contains, in order."""
    blocks = SequenceMatcher(None, shown, words, autojunk=False).get_matching_blocks()
    return [index for block in blocks for index in range(block.b, block.b + block.size)]
