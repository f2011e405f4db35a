"""Texts: what the model can write of a transcript, sentences of books, and new mixtures of recorded commands."""

from __future__ import annotations

import itertools
import random
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_LETTERS = "abcdefghijklmnopqrstuvwxyz'"
_SPOKEN = re.compile(r"[A-Za-z'’,;:.!?\-—\s\"“”()_]+")
_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS["twelve"] = "twelfth"
_ORDINAL_ENDINGS = ("st", "nd", "rd", "th")
_FIGURES = re.compile(r"\d+(?:,\d{3})*(?:(?:st|nd|rd|th)\b|\.\d+)?")
_INITIALS = re.compile(r"\b(?:[a-z]\.){2,}")
_TITLES = {"mr.": "mister", "mrs.": "missus", "dr.": "doctor", "st.": "saint", "&": "and"}
# CHARSXP of R's serialised form, native or UTF-8: flags, then a 32-bit big-endian length (R Internals, 1.8).
_R_STRING = re.compile(rb"\x00[\x04\x00][\x00\x80]\x09")


def transcript(text: str) -> str:
    """Reduce text to what the model can write: lower-case letters, apostrophes and single spaces.

    Figures and abbreviations become what is said: `12` is `twelve`, `3rd` is `third`, `U.S.A.` is `u s a`.
    """
    text = unicodedata.normalize("NFKD", text).replace("’", "'").lower()
    text = _INITIALS.sub(lambda match: " ".join(match[0].replace(".", " ").split()) + " ", text)
    text = _FIGURES.sub(lambda match: f" {spoken_number(match[0])} ", text)
    words = (_TITLES.get(word, word) for word in re.split(r"[\s\-—_/]+", text))
    kept = ("".join(c for c in word if c in _LETTERS).strip("'") for word in words)
    return " ".join(word for word in kept if word)


def spoken_number(figures: str) -> str:
    """Return figures in words: `42`, `3,000`, `21st`, `1.5`; leading zeros and long numbers go figure by figure."""
    figures = figures.replace(",", "")
    if figures[-2:] in _ORDINAL_ENDINGS:
        *words, last = spoken_number(figures[:-2]).split()
        return " ".join([*words, _ORDINALS.get(last, re.sub("y$", "ie", last) + "th")])
    whole, point, fraction = figures.partition(".")
    if len(whole) > 6 or (whole[0] == "0" and len(whole) > 1):
        said = [_ONES[int(figure)] for figure in whole]
    else:
        said = _below_million(int(whole))
    return " ".join([*said, *(["point", *(_ONES[int(figure)] for figure in fraction)] if point else [])])


def _below_million(number: int) -> list[str]:
    if number < 20:
        return [_ONES[number]]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            return [*_below_million(number // size), name, *(_below_million(rest) if rest else [])]
    return [_TENS[number // 10 - 2], *([_ONES[number % 10]] if number % 10 else [])]


def r_lines(path: Path) -> Iterator[str]:
    """Yield the strings in an R package's `Rdata.rdb` (several zlib streams, a four-byte length before each)."""
    raw, start = path.read_bytes(), 0
    while start + 4 < len(raw):
        stream = zlib.decompressobj()
        data = stream.decompress(raw[start + 4 :])
        start = len(raw) - len(stream.unused_data)
        position = 0
        while match := _R_STRING.search(data, position):
            (length,) = struct.unpack(">i", data[match.end() : match.end() + 4])
            position = match.end() + 4 + max(length, 0)
            yield data[match.end() + 4 : position].decode("utf-8", "ignore")


def book_lines(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of plain texts, fortune files (an attribution line is dropped) and R data packages."""
    for path in paths:
        lines = r_lines(path) if path.suffix == ".rdb" else path.read_text("utf-8", "ignore").splitlines()
        for line in lines:
            yield "" if line.strip() == "%" or line.lstrip().startswith("--") else line


def phrases(lines: Iterable[str], fewest: int = 3, most: int = 16) -> list[str]:
    """Cut running text into spoken phrases of `fewest` to `most` words at its own punctuation.

    Phrases with digits, capitals-only headings or foreign signs are dropped: their spoken form is unknown.
    """
    text = "\n".join(lines)
    found: dict[str, None] = {}
    for title, said in _TITLES.items():
        text = re.sub(rf"(?i)(?<!\w){re.escape(title)}", said, text)
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.!?;:])[\"”')]*\s+", " ".join(paragraph.split())):
            if not sentence or not _SPOKEN.fullmatch(sentence) or sentence.upper() == sentence:
                continue
            for piece in _pieces(sentence.split(), most):
                if fewest <= len(piece) <= most:
                    found[" ".join(piece).strip(' -—"“”()_')] = None
    return list(found)


def _pieces(words: list[str], most: int) -> Iterator[list[str]]:
    while len(words) > most:
        cuts = [i + 1 for i, word in enumerate(words[:most]) if i >= 3 and word[-1] in ",;:—"]
        cut = cuts[-1] if cuts else most - 3
        yield words[:cut]
        words = words[cut:]
    yield words


def command_mixtures(commands: list[str], count: int, generator: random.Random) -> list[str]:
    """Return up to `count` new commands of at most 20 words, drawn from the word pairs of the given ones."""
    follow: dict[str, list[str]] = {}
    for command in commands:
        words = ["<s>", *command.split(), "</s>"]
        for left, right in itertools.pairwise(words):
            follow.setdefault(left, []).append(right)
    made: dict[str, None] = {}
    for _ in range(100 * count):
        if len(made) == count:
            break
        words = ["<s>"]
        while words[-1] != "</s>" and len(words) < 22:
            words.append(generator.choice(follow[words[-1]]))
        if 4 < len(words) < 22:
            made[" ".join(words[1:-1])] = None
    return list(made)
