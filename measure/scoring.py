"""Word and character error rates with confidence intervals.

Rates pool errors over clips (all errors / all reference words). Intervals are 95 % percentile bootstraps over clips,
the paired one drawing the same clips for both systems (Bisani and Ney, "Bootstrap estimates for confidence intervals
in ASR performance evaluation", 2004). Edit distances are jiwer's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..runtime import remedies
from ..runtime.errors import EngineError, InputError
from .figures import Difference as Difference
from .figures import known
from .figures.bootstrap import DRAWS, interval_of_ratio

_GAPLESS = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, Japanese and Chinese."""
_JOINERS = "\u200c\u200d"
_SELECTORS = frozenset(map(chr, (*range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
"""Variation selectors, which choose among the shapes of a character."""


def keep_text(text: str) -> str:
    """The text as it is written, white space squeezed."""
    return " ".join(text.split())


def lower_text(text: str) -> str:
    """Lower case (Unicode NFC), white space squeezed."""
    return keep_text(unicodedata.normalize("NFC", text).lower())


def basic_text(text: str) -> str:
    """NFKC, lower case, punctuation and symbols as spaces; an apostrophe inside a word stays (``don't``).

    Invisible characters, such as marks of direction and variation selectors, are left out but for the joiners inside a
    word, which are spelling. So are marks that combine with no letter or number, as of emoji.
    """
    text = "".join(map(_accent_apart, text))
    text = unicodedata.normalize("NFKC", text).lower()
    text = unicodedata.normalize("NFC", text).replace("’", "'").replace("ʼ", "'")
    kept: list[str] = []
    inside = False  # whether what was kept last is of a word
    for index, character in enumerate(text):
        category = unicodedata.category(character)
        if character == "'":
            inside = text[index - 1 : index].isalnum() and text[index + 1 : index + 2].isalnum()
            kept.append("'" if inside else " ")
        elif character in _JOINERS or (category[0] == "M" and category != "Me" and character not in _SELECTORS):
            if inside:
                kept.append(character)
        elif category not in ("Cf", "Me") and character not in _SELECTORS:
            inside = category[0] not in "CPSZ"
            kept.append(" " if category[0] in "PSZ" else character)
    return keep_text("".join(kept))


def _accent_apart(character: str) -> str:
    """A space for an accent that stands by itself, which NFKC would make one with a mark; an apostrophe for ``´``."""
    if character == "´":
        return "'"
    return " " if not character.isascii() and unicodedata.normalize("NFKC", character)[0] == " " else character


def without_gaps(text: str) -> str:
    """A text without the spaces beside characters of Chinese, Japanese, Thai, Lao, Khmer and Burmese.

    No word begins or ends there: such a space is from punctuation, or from the segmentation of a corpus.
    """
    return re.sub(f"(?<={_GAPLESS}) | (?={_GAPLESS})", "", text)


Normalization = Literal["none", "lower", "basic"]
"""How texts are made comparable, by the names that users give."""

NORMALIZATIONS: Mapping[str, Callable[[str], str]] = {"none": keep_text, "lower": lower_text, "basic": basic_text}
"""What each of ``Normalization`` does to reference and hypothesis before they are compared."""

DEFAULT_NORMALIZATION: Normalization = "basic"


def normalize(text: str, how: str = DEFAULT_NORMALIZATION) -> str:
    """A text made comparable; raises InputError for a way that does not exist."""
    if how not in NORMALIZATIONS:
        raise InputError(f"no text normalisation {how!r}; there are {', '.join(NORMALIZATIONS)}")
    return NORMALIZATIONS[how](text)


@dataclass(frozen=True)
class Edits:
    """The edits between one reference and one hypothesis; length: of the reference, in words or characters."""

    length: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions


class RateDocument(TypedDict):
    """A rate as JSON: fractions, null where unknown; errors and length in words or characters."""

    value: float | None
    low: float | None
    high: float | None
    errors: int
    length: int
    clips: int


@dataclass(frozen=True)
class Rate:
    """A pooled error rate: ``value``, ``low`` and ``high`` are fractions (0.05 is 5 %), low to high the 95 % interval.

    ``value`` is NaN where the references are empty, the interval also where there is a single clip.
    """

    value: float
    low: float
    high: float
    errors: int
    length: int
    clips: int

    def __str__(self) -> str:
        """As ``5.0 % [4.1, 6.0]``; without an interval where there is none."""
        if self.length == 0:
            return "no words"
        if not np.isfinite(self.low):
            return f"{100 * self.value:.1f} %"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def to_json(self) -> RateDocument:
        """Plain JSON values; NaN becomes null."""
        return {
            "value": known(self.value),
            "low": known(self.low),
            "high": known(self.high),
            "errors": self.errors,
            "length": self.length,
            "clips": self.clips,
        }


@dataclass(frozen=True)
class Scores:
    """Scores of many clips: pooled WER and CER, and each clip's edits in the order given."""

    wer: Rate
    cer: Rate
    words: tuple[Edits, ...]
    characters: tuple[Edits, ...]
    normalization: str


def score(
    references: Sequence[str], hypotheses: Sequence[str], normalization: str = DEFAULT_NORMALIZATION, *, seed: int = 0
) -> Scores:
    """Compare hypotheses with references, clip by clip: WER and CER with 95 % intervals.

    The CER counts no space beside a character of a script that is written without (``without_gaps``).
    Raises InputError when the numbers of texts differ or are zero, EngineError when the extra [eval] is missing.
    """
    if len(references) != len(hypotheses) or not references:
        raise InputError(f"{len(references)} references for {len(hypotheses)} hypotheses; score needs pairs")
    pairs = [(normalize(r, normalization), normalize(h, normalization)) for r, h in zip(references, hypotheses)]
    words = tuple(word_edits(*pair) for pair in pairs)
    characters = tuple(character_edits(without_gaps(r), without_gaps(h)) for r, h in pairs)
    return Scores(rate(words, seed=seed), rate(characters, seed=seed), words, characters, normalization)


def word_edits(reference: str, hypothesis: str) -> Edits:
    """The fewest edits between the words of two texts, taken as they are."""
    return _edits("words", reference, hypothesis, len(reference.split()), len(hypothesis.split()))


def character_edits(reference: str, hypothesis: str) -> Edits:
    """The fewest edits between the characters of two texts, spaces included, taken as they are."""
    return _edits("characters", reference, hypothesis, len(reference), len(hypothesis))


def rate(edits: Sequence[Edits], *, draws: int = DRAWS, seed: int = 0) -> Rate:
    """The pooled rate of many clips with its 95 % bootstrap interval over clips."""
    errors, lengths = _columns(edits)
    total = int(lengths.sum())
    if total == 0:
        return Rate(float("nan"), float("nan"), float("nan"), int(errors.sum()), 0, len(edits))
    low, high = interval_of_ratio(errors, lengths, draws, seed)
    return Rate(float(errors.sum()) / total, low, high, int(errors.sum()), total, len(edits))


def difference(first: Sequence[Edits], second: Sequence[Edits], *, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Second minus first over the same clips, with a paired interval: each draw takes the same clips for both.

    Raises InputError when the two are not scores of the same references.
    """
    first_errors, first_lengths = _columns(first)
    second_errors, second_lengths = _columns(second)
    if not np.array_equal(first_lengths, second_lengths):
        raise InputError("the two scores are not of the same references; compare systems on the same clips")
    total = int(first_lengths.sum())
    if total == 0:
        return Difference(float("nan"), float("nan"), float("nan"))
    gap = second_errors - first_errors
    return Difference(float(gap.sum()) / total, *interval_of_ratio(gap, first_lengths, draws, seed))


def _columns(edits: Sequence[Edits]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.array([edit.errors for edit in edits], dtype=np.float64),
        np.array([edit.length for edit in edits], dtype=np.float64),
    )


def _edits(
    unit: Literal["words", "characters"], reference: str, hypothesis: str, length: int, hypothesis_length: int
) -> Edits:
    if length == 0:  # jiwer's rates are not defined for an empty reference
        return Edits(0, 0, 0, hypothesis_length)
    jiwer = _jiwer()
    compare = jiwer.process_words if unit == "words" else jiwer.process_characters
    counts = compare(reference, hypothesis)
    return Edits(length, counts.substitutions, counts.deletions, counts.insertions)


@dataclass(frozen=True)
class AlignedWords:
    """A run of words of one kind; ``delete`` has words of the reference only, ``insert`` of the hypothesis only."""

    kind: Literal["equal", "substitute", "delete", "insert"]
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


def word_alignment(reference: str, hypothesis: str) -> tuple[AlignedWords, ...]:
    """Which words of two texts correspond, with the fewest edits; the texts are taken as they are."""
    first, second = tuple(reference.split()), tuple(hypothesis.split())
    if not first or not second:
        return (AlignedWords("delete" if first else "insert", first, second),) if first or second else ()
    (chunks,) = _jiwer().process_words(reference, hypothesis).alignments
    return tuple(
        AlignedWords(c.type, first[c.ref_start_idx : c.ref_end_idx], second[c.hyp_start_idx : c.hyp_end_idx])
        for c in chunks
    )


def _jiwer() -> ModuleType:
    try:
        import jiwer
    except ImportError:
        raise EngineError(f"scores need jiwer; install it with `{remedies.install('eval')}`") from None
    return jiwer
