"""Keep shown words from flickering: a word that another already followed is corrected only once that is confirmed."""

from __future__ import annotations

from collections.abc import Sequence

from ..text.transcript import Word


class FlickerFilter:
    """The tentative words as they are shown.

    Hypotheses waver: a word turns into another and back. So a correction is shown once ``confirm`` successive
    hypotheses contained it. The word shown last may change at once: it is still being spoken.
    """

    def __init__(self, tolerance: float, confirm: int) -> None:
        """tolerance: seconds by which a word's start may move. confirm: hypotheses that a correction needs."""
        self.tolerance = tolerance
        self.confirm = confirm
        self.words: list[Word] = []
        self._missing: dict[Word, int] = {}  # for each word still shown: successive hypotheses that lacked it

    def update(self, fresh: Sequence[Word], agreed: Sequence[int], boundary: float) -> None:
        """Take a hypothesis.

        fresh: its tentative words. agreed: for each of them, successive hypotheses that contained it. boundary: where
        the stable words end, s.
        """
        shown = [word for word in self.words if (word.start + word.end) / 2 > boundary]
        kept: dict[Word, int] = {}
        for word in shown[:-1]:
            if any(same_word(word, other, self.tolerance) for other in fresh):
                continue
            missing = self._missing.get(word, 0) + 1
            rivals = [times for other, times in zip(fresh, agreed) if _overlap(word, other)]
            if not self._replaced(missing, rivals):
                kept[word] = missing
        free = [
            word
            for word in fresh
            if not any(_overlap(word, other) for other in kept)
            or any(same_word(other, word, self.tolerance) for other in shown)
        ]
        self.words = sorted([*kept, *free], key=lambda word: word.start)
        self._missing = kept

    def _replaced(self, missing: int, rivals: Sequence[int]) -> bool:
        """Whether a word that ``missing`` hypotheses lacked gives way; rivals: how often each in its place came."""
        if rivals:
            return min(rivals) >= self.confirm or missing > self.confirm
        return missing >= self.confirm


def same_word(one: Word, other: Word, tolerance: float) -> bool:
    """Whether two hypotheses mean the same word: the same text at the same place, within ``tolerance`` seconds."""
    return one.text == other.text and abs(one.start - other.start) <= tolerance


def _overlap(one: Word, other: Word) -> bool:
    return one.start < other.end and other.start < one.end
