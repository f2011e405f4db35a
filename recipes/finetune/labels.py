"""The labels of a checkpoint: transcripts as it writes them, and a vocabulary for one that has none."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import Wav2Vec2CTCTokenizer

DELIMITER = "|"
"""The label of a space between words in a new vocabulary."""
_CHARACTERS_ONLY = "only checkpoints whose labels are single characters can be fine-tuned, not pieces or phonemes"


def check_labels(tokenizer: Any) -> None:
    """Raise ValueError for a tokenizer whose labels are not characters: transcripts cannot be written in them."""
    if not hasattr(tokenizer, "word_delimiter_token") or hasattr(tokenizer, "phone_delimiter_token"):
        raise ValueError(f"its tokenizer is a {type(tokenizer).__name__}; {_CHARACTERS_ONLY}")
    special = {*tokenizer.all_special_tokens, tokenizer.word_delimiter_token}
    for label in tokenizer.get_vocab():
        bracketed = label[:1] + label[-1:] in ("<>", "[]")
        if label not in special and not bracketed and _letters(label) > 1:
            raise ValueError(f"one of its labels is {label!r}; {_CHARACTERS_ONLY}")


def _letters(label: str) -> int:
    """How many characters a label has, without marks on others."""
    return sum(not unicodedata.category(character).startswith("M") for character in label)


@dataclass
class Writer:
    """Writes transcripts in the labels of a tokenizer: its case, and only characters that it has.

    ``gap``: a space, or nothing where no label parts words.
    """

    tokenizer: Any
    outputs: int | None = None
    """How many labels the output layer has: a tokenizer may add some after them. None: all."""
    dropped: Counter[str] = field(default_factory=Counter)
    """How often each character that is not a label was left out."""

    def __post_init__(self) -> None:
        """Find the case and the characters of the labels."""
        labels = self.tokenizer.get_vocab()
        self._vocabulary = {label: i for label, i in labels.items() if self.outputs is None or i < self.outputs}
        self.gap = " " if self.tokenizer.word_delimiter_token in self._vocabulary else ""
        self._known = {label for label in self._vocabulary if len(label) == 1}
        letters = {label for label in self._known if label.isalpha()}
        self._lower = not any(label != _small(label) for label in letters)
        self._upper = not any(label != _capital(label) for label in letters)
        self._apostrophe = "’" if "’" in self._known and "'" not in self._known else "'"

    def write(self, text: str) -> str:
        """Return a transcript in characters that are labels, words apart by single spaces where there is a label."""
        text = _composed(text).replace("'", self._apostrophe)
        if self._lower or self._upper:
            text = "".join(map(_small if self._lower else _capital, text))
        words = []
        for word in text.split():
            self.dropped.update(character for character in word if character not in self._known)
            words.append("".join(character for character in word if character in self._known))
        return self.gap.join(word for word in words if word)

    def ids(self, text: str) -> list[int]:
        """Return the label ids of a transcript.

        They are looked up here, because a tokenizer with `do_lower_case` takes capitals for its labels.
        """
        space = self.tokenizer.word_delimiter_token
        return [self._vocabulary[space if character == " " else character] for character in self.write(text)]


def _small(character: str) -> str:
    """A character in lower case, where that is one character."""
    return character.lower() if len(character.lower()) == 1 else character


def _capital(character: str) -> str:
    """A character in upper case, where that is one character: `ß` stays."""
    return character.upper() if len(character.upper()) == 1 else character


def _composed(text: str) -> str:
    """Return a text with one code for each character that has one, and one kind of apostrophe."""
    return unicodedata.normalize("NFKC", text).replace("’", "'")


def _is_written(character: str) -> bool:
    """Whether a character is a letter, or a mark on one: a vowel sign of Hindi, Tamil, Thai."""
    return character.isalpha() or unicodedata.category(character).startswith("M")


def new_tokenizer(texts: Iterable[str]) -> Any:
    """Return a tokenizer of the letters and marks of some texts, in lower case."""
    written = {character for text in texts for character in _composed(text).lower() if _is_written(character)}
    characters = sorted(written | {"'"})
    labels = ["<pad>", "<unk>", DELIMITER, *characters]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.json"
        vocabulary.write_text(json.dumps({label: i for i, label in enumerate(labels)}, ensure_ascii=False), "utf-8")
        return Wav2Vec2CTCTokenizer(
            str(vocabulary),
            unk_token="<unk>",
            pad_token="<pad>",
            word_delimiter_token=DELIMITER,
            bos_token=None,
            eos_token=None,
        )
