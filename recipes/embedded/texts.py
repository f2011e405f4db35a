"""Text to be spoken by synthetic voices: sentences of books, and new mixtures of the commands that people said."""

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
_TITLES = {"mr.": "mister", "mrs.": "missus", "dr.": "doctor", "st.": "saint", "&": "and"}
# CHARSXP of R's serialised form, native or UTF-8: flags, then a 32-bit big-endian length (R Internals, 1.8).
_R_STRING = re.compile(rb"\x00[\x04\x00][\x00\x80]\x09")


def transcript(text: str) -> str:
    """Reduce text to what the model can write: lower-case letters, apostrophes and single spaces."""
    text = unicodedata.normalize("NFKD", text).replace("’", "'").lower()
    words = (_TITLES.get(word, word) for word in re.split(r"[\s\-—_/]+", text))
    kept = ("".join(c for c in word if c in _LETTERS).strip("'") for word in words)
    return " ".join(word for word in kept if word)


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
    """Make new commands that walk the word pairs of the given ones (a bigram chain), at most 20 words long.

    Fewer than `count` where the given ones do not have so many in them.
    """
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
