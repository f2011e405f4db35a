"""Which words will stay: those on which successive hypotheses agree (LocalAgreement; Liu et al., 2020).

A word of the new hypothesis agrees with one of the last when the text is the same and the frames coincide; it is stable
when everything before it is stable and the window went on far enough behind it. Stable words never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from ..text.transcript import Word


class Agreement:
    """The stable and the tentative words of one utterance; times are absolute seconds."""

    def __init__(self, settle: float, tolerance: float, wanted: int = 2, confirm: int = 1) -> None:
        """settle: seconds of sound wanted behind a word; tolerance: by how much its start may move, s.

        wanted: how many hypotheses in a row must agree; confirm: the same for a correction to be shown (see Steady).
        """
        self.settle = settle
        self.tolerance = tolerance
        self.wanted = wanted
        self.stable: list[Word] = []
        self.tentative: list[Word] = []
        self.steady = Steady(tolerance, confirm)
        self._agreed: list[int] = []  # for each tentative word, hypotheses in a row that had it

    @property
    def words(self) -> list[Word]:
        """All words, the stable ones first."""
        return self.stable + self.tentative

    def update(self, words: Sequence[Word], trusted_from: float, end: float) -> None:
        """Take the hypothesis of a window that ends at ``end``; its words before ``trusted_from`` lack context."""
        while self.tentative and self.tentative[0].start < trusted_from:
            self.stable.append(self.tentative.pop(0))  # it leaves the window: nothing will hear it better
            self._agreed.pop(0)
        boundary = self.stable[-1].end if self.stable else float("-inf")
        fresh = [word for word in words if word.start >= trusted_from and not self._heard(word, boundary)]
        agreed = [1 + self._before(word) for word in fresh]
        ready = 0
        while ready < len(fresh) and agreed[ready] >= self.wanted and fresh[ready].end <= end - self.settle:
            ready += 1
        self.stable += fresh[:ready]
        self.tentative, self._agreed = fresh[ready:], agreed[ready:]
        boundary = self.stable[-1].end if self.stable else float("-inf")
        self.steady.update(self.tentative, self._agreed, boundary)

    def sure(self, doubt: float) -> list[Word]:
        """The tentative words to show: those before the first that is in doubt.

        A word is in doubt while its confidence is below ``doubt`` and fewer hypotheses in a row had it than a
        correction needs.
        """
        wanted = self.steady.confirm
        return list(takewhile(lambda w: w.confidence >= doubt or self._before(w) >= wanted, self.steady.words))

    def split(self, at: float) -> list[Word]:
        """Keep the words before a time; returns the stable ones behind it."""
        behind = [word for word in self.stable if word.start >= at]
        self.stable = [word for word in self.stable if word.start < at]
        self.tentative = [word for word in self.tentative if word.start < at]
        self._agreed = self._agreed[: len(self.tentative)]
        self.steady = Steady(self.tolerance, self.steady.confirm)
        return behind

    def _before(self, word: Word) -> int:
        """How many hypotheses in a row had a word so far."""
        for old, agreed in zip(self.tentative, self._agreed):
            if _same(old, word, self.tolerance):
                return agreed
        return 0

    def _heard(self, word: Word, boundary: float) -> bool:
        return (word.start + word.end) / 2 <= boundary or boundary - word.start > self.tolerance


class Steady:
    """The tentative words as they are shown: a word that was followed by another is not corrected on a whim.

    Hypotheses waver: a word turns into another and back. So a correction is shown once ``confirm`` hypotheses in a row
    had it. A word that was shown last, with nothing behind it, may change at once: it is still being spoken.
    """

    def __init__(self, tolerance: float, confirm: int) -> None:
        """tolerance: by how much a word's start may move, s."""
        self.tolerance = tolerance
        self.confirm = confirm
        self.words: list[Word] = []
        self._doubts: dict[
            Word, int
        ] = {}  # for how many hypotheses in a row a word has been kept without any having it

    def update(self, fresh: Sequence[Word], agreed: Sequence[int], boundary: float) -> None:
        """Take the tentative words of a hypothesis and how many in a row had each; stable words end at ``boundary``."""
        shown = [word for word in self.words if (word.start + word.end) / 2 > boundary]
        kept: dict[Word, int] = {}
        for word in shown[:-1]:
            if any(_same(word, other, self.tolerance) for other in fresh):
                continue
            doubts = self._doubts.get(word, 0) + 1
            rivals = [times for other, times in zip(fresh, agreed) if _overlap(word, other)]
            settled = min(rivals) >= self.confirm or doubts > self.confirm if rivals else doubts >= self.confirm
            if not settled:
                kept[word] = doubts
        free = [
            word
            for word in fresh
            if not any(_overlap(word, other) for other in kept)
            or any(_same(other, word, self.tolerance) for other in shown)
        ]
        self.words = sorted([*kept, *free], key=lambda word: word.start)
        self._doubts = kept


def _same(one: Word, other: Word, tolerance: float) -> bool:
    return one.text == other.text and abs(one.start - other.start) <= tolerance


def _overlap(one: Word, other: Word) -> bool:
    return one.start < other.end and other.start < one.end


def revised(stable: Sequence[Word], final: Sequence[Word]) -> int:
    """How many stable words the final changed or dropped: those outside the longest common subsequence of texts."""
    row = np.zeros(len(final) + 1, dtype=np.int64)
    for word in stable:
        above = row.copy()
        for j, other in enumerate(final):
            row[j + 1] = above[j] + 1 if word.text == other.text else max(above[j + 1], row[j])
    return len(stable) - int(row[-1])
