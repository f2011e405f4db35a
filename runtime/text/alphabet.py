"""A vocabulary as beam searches take it: one character for each label."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..bundle.spec import ModelSpec
from ..errors import InputError
from ..heads import ctc

_NEVER = -1e4
"""The log-probability of what must not be chosen; finite, because beam searches add and subtract it."""
_SAMPLE = 5000
"""Words of a language model that its case is taken from."""
_UNUSED = 0xE000
"""Private-use characters, from this one on, are those of labels that never become text."""


class Alphabet:
    """A vocabulary in pyctcdecode's form: one character for each label, a space between words, a blank.

    Letters take the case in which the language model spells its words.
    """

    def __init__(self, spec: ModelSpec, unigrams: Sequence[str]) -> None:
        """Prepare a model's labels; unigrams: the language model's words, where they are listed.

        Raises InputError for a vocabulary that is not one of single letters with a word delimiter, or that spells none
        of these words.
        """
        silent = {label for label in spec.labels if label in spec.options(ctc.Options).silent}
        silent |= {label for label in spec.labels if label.startswith(("<", "[")) and label.endswith((">", "]"))}
        if spec.delimiter not in spec.labels or spec.tokenizer != "char":
            raise InputError("language models and hotwords need a vocabulary of letters with a word delimiter")
        assert spec.blank is not None
        self._blank = spec.blank
        self._delimiter = spec.labels.index(spec.delimiter)
        self._silent = [i for i, label in enumerate(spec.labels) if label in silent and i != spec.blank]
        letters = {
            i: label for i, label in enumerate(spec.labels) if i not in (spec.blank, self._delimiter, *self._silent)
        }
        if long := [label for label in letters.values() if len(label) != 1]:
            raise InputError(f"language models and hotwords need single letters as labels, here is {long[0]!r}")
        self._case = _case(letters.values(), unigrams)
        spelled = {i: _changed(label, self._case) for i, label in letters.items()}
        self._indices = {text: i for i, text in spelled.items()} | {" ": self._delimiter}
        self.characters = [
            "" if i == spec.blank else " " if i == self._delimiter else spelled.get(i, chr(_UNUSED + i))
            for i in range(len(spec.labels))
        ]

    def folded(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-probabilities with those of labels that never become text added to the blank's."""
        if not self._silent:
            return scores
        scores = scores.copy()
        scores[:, self._blank] = np.logaddexp.reduce(scores[:, [self._blank, *self._silent]], axis=1)
        scores[:, self._silent] = _NEVER
        return scores

    def parted(self, scores: NDArray[np.float32], gap: int) -> NDArray[np.float32]:
        """Log-probabilities with a delimiter of probability 1 in the middle of each pause that is too long for a word.

        The language model then scores two words there, as greedy decoding makes two.
        """
        best = scores.argmax(axis=1)
        spoken = np.flatnonzero((best != self._blank) & (best != self._delimiter))
        pauses = np.flatnonzero(np.diff(spoken) - 1 > gap)
        if len(pauses) == 0:
            return scores
        scores = scores.copy()
        middle = (spoken[pauses] + spoken[pauses + 1]) // 2
        scores[middle] = _NEVER
        scores[middle, self._delimiter] = 0.0
        return scores

    def labels(self, text: str) -> list[int]:
        """The label indices of a decoded text."""
        return [self._indices[character] for character in " ".join(text.split()) if character in self._indices]

    def checked(self, hotword: str) -> str:
        """A hotword in the decoder's case; raises InputError naming letters that the model does not have."""
        composed = unicodedata.normalize("NFC", " ".join(hotword.split()))
        word = "".join(self._spelled(_changed(letter, self._case)) for letter in composed)
        unknown = "".join(dict.fromkeys(letter for letter in word if letter not in self._indices))
        if not word:
            raise InputError("a hotword is empty")
        if unknown:
            raise InputError(f"hotword {hotword!r}: the model's vocabulary has no {unknown}")
        return word

    def _spelled(self, letter: str) -> str:
        """A letter as the vocabulary writes it: as it is, in capitals or small."""
        ways = (letter, letter.upper(), letter.lower())
        return next((way for way in ways if way in self._indices), letter)


def _case(letters: Collection[str], unigrams: Sequence[str]) -> Callable[[str], str]:
    """How to write letters so that they spell the language model's words: as they are, in capitals, or small.

    Raises InputError where they spell none of its words.
    """
    sample = [word for word in unigrams[:_SAMPLE] if not word.startswith("<")]
    ways: tuple[Callable[[str], str], ...] = (str, str.upper, str.lower)
    best, most = ways[0], 0
    for way in ways:
        known = {_changed(letter, way) for letter in letters}
        count = sum(set(word) <= known for word in sample)
        if len(known) == len(letters) and count > most:  # two letters must not become one
            best, most = way, count
    if sample and not most:
        raise InputError(f"the model's vocabulary spells no word of the language model, such as {sample[0][:40]!r}")
    return best


def _changed(letter: str, way: Callable[[str], str]) -> str:
    """A letter in capitals or small; as it is where that would be several (``ß``)."""
    changed = way(letter)
    return changed if len(changed) == 1 else letter
