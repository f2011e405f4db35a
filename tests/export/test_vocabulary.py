"""Vocabularies as people have them: the text is that of transformers' own processor, without its special tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from wav2edge.export.documents import ConfigJson
from wav2edge.export.families import HEADS
from wav2edge.export.labels import Labels, read_labels
from wav2edge.runtime.errors import CheckpointError

CTC = HEADS[0]
Spell = Callable[[list[int], Labels], str]
BASE = {
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "word_delimiter_token": "|",
}
BLOG = {
    "unk_token": "[UNK]",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "[PAD]",
    "word_delimiter_token": "|",
}
LETTERS = "abcdefgh"


def table(*labels: str) -> dict[str, int]:
    return {label: index for index, label in enumerate(labels)}


def added(content: str, special: bool = True) -> dict[str, object]:
    return {"content": content, "special": special, "lstrip": False, "rstrip": False, "normalized": False}


CASES: dict[str, tuple[dict[str, Any], ConfigJson]] = {
    "special tokens in front, as base-960h": (
        {"vocab": table("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS), "tokenizer_config": BASE},
        {"vocab_size": 13, "pad_token_id": 0},
    ),
    "a hole, and two labels of one index (fault 08)": (
        {
            "vocab": {"a": 0, "|": 4, "b": 2, "c": 3, "[UNK]": 4, "[PAD]": 5},
            "tokenizer_config": BLOG,
            "added_tokens": {"<s>": 6, "</s>": 7},
        },
        {"vocab_size": 8, "pad_token_id": 5},
    ),
    "added_tokens_decoder alone (fault 09)": (
        {
            "vocab": table(*LETTERS, "|", "[UNK]", "[PAD]"),
            "tokenizer_config": {**BLOG, "added_tokens_decoder": {"11": added("<s>"), "12": added("</s>")}},
        },
        {"vocab_size": 13, "pad_token_id": 10},
    ),
    "special tokens that are only named": (
        {"vocab": table(*LETTERS, "|", "[UNK]", "[PAD]"), "tokenizer_config": BLOG},
        {"vocab_size": 13, "pad_token_id": 10},
    ),
    "an added token that is a word": (
        {
            "vocab": table(*LETTERS, "|", "[UNK]", "[PAD]"),
            "tokenizer_config": {**BLOG, "added_tokens_decoder": {"11": added("hm", special=False)}},
        },
        {"vocab_size": 12, "pad_token_id": 10},
    ),
    "added tokens beyond the output layer": (
        {
            "vocab": table(*LETTERS, "|", "[UNK]", "[PAD]"),
            "tokenizer_config": BLOG,
            "added_tokens": {"<s>": 11, "</s>": 12},
        },
        {"vocab_size": 11, "pad_token_id": 10},
    ),
    "lower-case output": (
        {"vocab": table("<pad>", "|", "<unk>", *"ABCDÉ"), "tokenizer_config": {**BASE, "do_lower_case": True}},
        {"vocab_size": 8, "pad_token_id": 0},
    ),
    "labels of several letters": (
        {"vocab": table("<pad>", "|", "<unk>", "a", "ch", "sch", "ß"), "tokenizer_config": BASE},
        {"vocab_size": 7, "pad_token_id": 0},
    ),
    "a writing without spaces": (
        {
            "vocab": table("<pad>", "|", "<unk>", *"北京大学"),
            "tokenizer_config": {**BASE, "replace_word_delimiter_char": ""},
        },
        {"vocab_size": 7, "pad_token_id": 0},
    ),
    "older files: special_tokens_map.json": (
        {
            "vocab": table("a", "b", "|", "[PAD]", "[UNK]"),
            "special_tokens_map": {"pad_token": "[PAD]", "unk_token": {"content": "[UNK]"}},
            "tokenizer_config": {"word_delimiter_token": "|", "unk_token": "[UNK]", "pad_token": "[PAD]"},
        },
        {"vocab_size": 5, "pad_token_id": 3},
    ),
    "phonemes with a delimiter (fault 10)": (
        {
            "vocab": table("<pad>", "<s>", "</s>", "<unk>", "|", "n", "ə", "uː", "tʃ"),
            "tokenizer_config": {**BASE, "tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer", "do_phonemize": False},
        },
        {"vocab_size": 9, "pad_token_id": 0},
    ),
    "phonemes without a delimiter, as lv-60-espeak": (
        {
            "vocab": table("<pad>", "<s>", "</s>", "<unk>", "n", "ə", "uː", "tʃ", "|"),
            "tokenizer_config": {
                **BASE,
                "word_delimiter_token": None,
                "tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer",
                "do_phonemize": False,
            },
        },
        {"vocab_size": 9, "pad_token_id": 0},
    ),
}


def their_text(folder: Path, path: list[int]) -> str:
    """The text of transformers, in which special tokens stand as they are, with these taken out."""
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    name = settings.get("tokenizer_class", "Wav2Vec2CTCTokenizer")
    tokenizer: Any = getattr(transformers, name).from_pretrained(folder)
    text = str(tokenizer.decode(path)) if path else ""
    for special in sorted(tokenizer.all_special_tokens, key=len, reverse=True):
        for spelt in (special, special.lower()):
            text = text.replace(spelt, "")
    return text


def write(folder: Path, **files: object) -> None:
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_text_equals_the_processors(tmp_path: Path, spell: Spell, name: str) -> None:
    files, config = CASES[name]
    write(tmp_path, **files)
    labels = read_labels(tmp_path, config, CTC)
    random = np.random.default_rng(5)
    for _ in range(30):
        path = random.integers(0, config["vocab_size"], 25).repeat(random.integers(1, 4, 25)).tolist()
        assert spell(path, labels).split() == their_text(tmp_path, path).split()


def test_another_delimiter_and_a_blank_in_the_middle(tmp_path: Path, spell: Spell) -> None:
    """Transformers 4 wrote a space for ``_``; 5.23 loses the tokenizer's word_delimiter_token and writes ``_``."""
    write(tmp_path, vocab=table("a", "_", "b", "<pad>", "c", "<unk>"))
    write(tmp_path, tokenizer_config={**BASE, "word_delimiter_token": {"content": "_"}, "bos_token": None})
    labels = read_labels(tmp_path, {"vocab_size": 6, "pad_token_id": 3}, CTC)
    assert (labels.delimiter, labels.blank) == ("_", 3)
    assert spell([0, 3, 0, 1, 2, 5, 4], labels) == "aa bc"


def test_byte_order_mark(tmp_path: Path) -> None:
    write(tmp_path, vocab=table("<pad>", "|", "ä"))
    plain = read_labels(tmp_path, {"vocab_size": 3, "pad_token_id": 0}, CTC)
    content = (tmp_path / "vocab.json").read_bytes()
    (tmp_path / "vocab.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert read_labels(tmp_path, {"vocab_size": 3, "pad_token_id": 0}, CTC) == plain


def test_special_tokens_and_unused_outputs_are_silent(tmp_path: Path, spell: Spell) -> None:
    files, config = CASES["a hole, and two labels of one index (fault 08)"]
    write(tmp_path, **files)
    labels = read_labels(tmp_path, config, CTC)
    assert labels.names == ("a", "<unused 1>", "b", "c", "[UNK]", "[PAD]", "<s>", "</s>")
    assert labels.silent == ("<unused 1>", "[UNK]", "<s>", "</s>")
    assert spell([0, 1, 2, 4, 3, 6, 7], labels) == "abc"


def test_tokenizer_json_alone(tmp_path: Path, spell: Spell) -> None:
    tokens = [{"id": 0, "content": "<pad>", "special": True}, {"id": 4, "content": "<unk>", "special": True}]
    model = {"type": "WordLevel", "vocab": {"<pad>": 0, "|": 1, "a": 2, "b": 3, "<unk>": 4}}
    write(tmp_path, tokenizer={"model": model, "added_tokens": tokens})
    write(tmp_path, tokenizer_config={"pad_token": "<pad>", "unk_token": "<unk>", "word_delimiter_token": "|"})
    labels = read_labels(tmp_path, {"vocab_size": 5, "pad_token_id": 0}, CTC)
    assert labels == Labels(("<pad>", "|", "a", "b", "<unk>"), blank=0, delimiter="|", silent=("<unk>",))
    pieces = {"type": "Unigram", "vocab": [["<pad>", 0.0], ["▁a", -1.0], ["b", -2.0], ["▁", -3.0], ["<unk>", 0.0]]}
    write(tmp_path, tokenizer={"model": pieces, "added_tokens": tokens}, tokenizer_config={"pad_token": "<pad>"})
    labels = read_labels(tmp_path, {"vocab_size": 5, "pad_token_id": 0}, CTC)
    assert (labels.tokenizer, spell([1, 2, 0, 1, 4, 2], labels)) == ("piece", "ab ab")


@pytest.mark.parametrize("size", [3, 6])
def test_letters_that_the_layer_lacks_or_has_too_many(tmp_path: Path, size: int) -> None:
    write(tmp_path, vocab=table("<pad>", "|", "a", "b", "c"), tokenizer_config={"pad_token": "<pad>"})
    with pytest.raises(CheckpointError, match=f"5 labels up to index 4, but the output layer has {size}"):
        read_labels(tmp_path, {"vocab_size": size, "pad_token_id": 0}, CTC)


@pytest.mark.parametrize("vocab", [{"a": "x"}, {"a": None}, {"a": 1.5}, {"a": -1, "<pad>": 0}])
def test_indices_that_are_not_numbers(tmp_path: Path, vocab: dict[str, object]) -> None:
    write(tmp_path, vocab=vocab)
    with pytest.raises(CheckpointError):
        read_labels(tmp_path, {"vocab_size": 2, "pad_token_id": 0}, CTC)


def test_pieces_in_vocab_json(tmp_path: Path, spell: Spell) -> None:
    """Each piece was a word, and the text was ``▁ab▁a``."""
    labels = table("<pad>", "▁a", "b", "▁", "<unk>")
    write(tmp_path, vocab=labels, tokenizer_config={"pad_token": "<pad>", "unk_token": "<unk>"})
    found = read_labels(tmp_path, {"vocab_size": 5, "pad_token_id": 0}, CTC)
    assert (found.tokenizer, spell([1, 2, 0, 1, 3, 2], found)) == ("piece", "ab a b")
    write(tmp_path, vocab=labels, tokenizer_config={"pad_token": "<pad>", "word_delimiter_token": "▁"})
    assert read_labels(tmp_path, {"vocab_size": 5, "pad_token_id": 0}, CTC).tokenizer == "char"


def test_bytes_of_pieces(tmp_path: Path, spell: Spell) -> None:
    """Characters that have no piece were written as ``<0xC3><0xA9>``."""
    labels = table("<pad>", "▁caf", "<0xC3>", "<0xA9>", "s")
    write(tmp_path, vocab=labels, tokenizer_config={"pad_token": "<pad>"})
    found = read_labels(tmp_path, {"vocab_size": 5, "pad_token_id": 0}, CTC)
    assert spell([1, 2, 3, 4, 1, 2], found) == "cafés caf\ufffd"


def test_bytes_are_refused(tmp_path: Path) -> None:
    """The text of byte-level BPE was ``ĠcafÃ©``."""
    write(tmp_path, vocab=table("<pad>", "Ġcaf", "Ã©", "s"), tokenizer_config={"pad_token": "<pad>"})
    with pytest.raises(CheckpointError, match=r"its labels are sequences of bytes \(byte-level BPE\)"):
        read_labels(tmp_path, {"vocab_size": 4, "pad_token_id": 0}, CTC)
    write(tmp_path, vocab=table("<pad>", "|", "Ġ", "s"), tokenizer_config={"pad_token": "<pad>"})  # Maltese
    assert read_labels(tmp_path, {"vocab_size": 4, "pad_token_id": 0}, CTC).tokenizer == "char"


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (("|", "A", "B"), "A B"),
        (("hh", "aa", "b"), "hh aa b"),
        (("▁the", "▁", "m"), "the m"),
        (("你", "好", "é"), "你好é"),
    ],
)
def test_dictionaries_of_fairseq(own: tuple[str, ...], text: str, tmp_path: Path, spell: Spell) -> None:
    """Phonemes were joined without spaces, and pieces with their mark."""
    file = tmp_path / "dict.phn.txt"
    file.write_text("".join(f"{label} 1\n" for label in own), encoding="utf-8")
    labels = read_labels(tmp_path, {"vocab_size": 7}, CTC, vocabulary=file)
    assert spell([5, 4, 6] if own[0] == "|" else [4, 5, 6], labels) == text


def test_a_dictionary_of_fairseq_for_a_model_with_another_blank(tmp_path: Path) -> None:
    """A dictionary with as many labels was taken, and the model wrote other words without a warning."""
    file = tmp_path / "dict.ltr.txt"
    file.write_text("| 1\nA 1\nB 1\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"dict.ltr.txt: .* blank at 0, and config.json has it at 6"):
        read_labels(tmp_path, {"vocab_size": 7, "pad_token_id": 6}, CTC, vocabulary=file)
    assert read_labels(tmp_path, {"vocab_size": 7, "pad_token_id": 0}, CTC, vocabulary=file).blank == 0
