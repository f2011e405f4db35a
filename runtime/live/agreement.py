"""Which words are stable: those on which successive hypotheses agree (LocalAgreement; Liu et al., 2020).

A word of the new hypothesis agrees with one of the last when the text is the same and the times coincide. It becomes
stable when all words before it are stable and the window reaches far enough past it. Stable words never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from ..text.transcript import Word
from .flicker import FlickerFilter, same_word


class Agreement:
    """The stable and the tentative words of one utterance; times are absolute seconds."""

    def __init__(self, settle: float, tolerance: float, wanted: int = 2, confirm: int = 1) -> None:
        """Begin without words.

        settle: seconds of sound needed after a word. tolerance: seconds by which its start may move. wanted: successive
        hypotheses that must contain it. confirm: the same for a correction to be shown (see FlickerFilter).
        """
        self.settle = settle
        self.tolerance = tolerance
        self.wanted = wanted
        self.stable: list[Word] = []
        self.tentative: list[Word] = []
        self.shown = FlickerFilter(tolerance, confirm)
        self._agreed: list[int] = []  # for each tentative word, successive hypotheses that contained it

    @property
    def words(self) -> list[Word]:
        """All words, the stable ones first."""
        return self.stable + self.tentative

    def update(self, words: Sequence[Word], trusted_from: float, end: float, hops: int = 1) -> None:
        """Take the hypothesis of a window that ends at ``end`` (s); its words before ``trusted_from`` lack context.

        hops: how many hypotheses it counts for, where it came after a longer hop.
        """
        while self.tentative and self.tentative[0].start < trusted_from:
            self.stable.append(self.tentative.pop(0))  # it leaves the window: no later hypothesis is better
            self._agreed.pop(0)
        boundary = self.stable[-1].end if self.stable else float("-inf")
        fresh = [word for word in words if word.start >= trusted_from and not self._known(word, boundary)]
        agreed = [before + hops if (before := self._before(word)) else 1 for word in fresh]
        ready = 0
        while ready < len(fresh) and agreed[ready] >= self.wanted and fresh[ready].end <= end - self.settle:
            ready += 1
        self.stable += fresh[:ready]
        self.tentative, self._agreed = fresh[ready:], agreed[ready:]
        boundary = self.stable[-1].end if self.stable else float("-inf")
        self.shown.update(self.tentative, self._agreed, boundary)

    def confident(self, min_confidence: float) -> list[Word]:
        """The tentative words to show: those before the first uncertain one.

        A word is uncertain while its confidence is below ``min_confidence`` and fewer successive hypotheses contained
        it than a correction needs.
        """
        wanted = self.shown.confirm
        return list(takewhile(lambda w: w.confidence >= min_confidence or self._before(w) >= wanted, self.shown.words))

    def split(self, at: float) -> list[Word]:
        """Keep the words that begin before a time (s); returns the stable ones after it."""
        after = [word for word in self.stable if word.start >= at]
        self.stable = [word for word in self.stable if word.start < at]
        self.tentative = [word for word in self.tentative if word.start < at]
        self._agreed = self._agreed[: len(self.tentative)]
        self.shown = FlickerFilter(self.tolerance, self.shown.confirm)
        return after

    def _before(self, word: Word) -> int:
        """How many successive hypotheses contained a word so far."""
        for old, agreed in zip(self.tentative, self._agreed):
            if same_word(old, word, self.tolerance):
                return agreed
        return 0

    def _known(self, word: Word, boundary: float) -> bool:
        """Whether a word is one of the stable words, which end at ``boundary``."""
        return (word.start + word.end) / 2 <= boundary or boundary - word.start > self.tolerance


def revised(stable: Sequence[Word], final: Sequence[Word]) -> int:
    """How many stable words the final changed or dropped: those outside the longest common subsequence of texts."""
    row = np.zeros(len(final) + 1, dtype=np.int64)
    for word in stable:
        above = row.copy()
        for j, other in enumerate(final):
            row[j + 1] = above[j] + 1 if word.text == other.text else max(above[j + 1], row[j])
    return len(stable) - int(row[-1])
