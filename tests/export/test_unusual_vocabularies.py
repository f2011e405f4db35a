"""Vocabularies and settings of tokenizers that transformers allows: our text of fixed logits is its processor's."""

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
from wav2edge.export.preprocessing import read_preprocessing
from wav2edge.runtime.errors import CheckpointError

CTC = HEADS[0]
LETTERS = "abcdefgh"
CHARS = "Wav2Vec2CTCTokenizer"


def numbered(*labels: str) -> dict[str, int]:
    return {label: index for index, label in enumerate(labels)}


CASES: dict[str, dict[str, Any]] = {
    "delimiter of another character": {
        "vocab": numbered("<pad>", "<unk>", "_", *LETTERS),
        "tokenizer": {"word_delimiter_token": "_", "bos_token": None, "eos_token": None},
    },
    "delimiter that is a space": {
        "vocab": numbered(*LETTERS, " ", "[PAD]", "[UNK]"),
        "tokenizer": {"word_delimiter_token": " ", "pad_token": "[PAD]", "unk_token": "[UNK]"},
        "pad": 9,
    },
    "no special token but the blank": {
        "vocab": numbered("|", *LETTERS, "<blank>"),
        "tokenizer": {"pad_token": "<blank>", "unk_token": "<blank>", "bos_token": None, "eos_token": None},
        "pad": 9,
    },
    "a hole in the middle and specials at the end": {
        "vocab": {"|": 0, "a": 1, "b": 3, "c": 4, "<unk>": 5, "<pad>": 6, "<s>": 7, "</s>": 8},
        "tokenizer": {},
        "pad": 6,
    },
    "upper case that is lowered": {
        "vocab": numbered("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS.upper(), "É", "ß"),
        "tokenizer": {"do_lower_case": True},
    },
    "labels of several characters": {
        "vocab": numbered("<pad>", "<s>", "</s>", "<unk>", "|", "sch", "ch", "a", "e", "'", "-"),
        "tokenizer": {},
    },
    "combining marks and a right-to-left script": {
        "vocab": numbered("[PAD]", "[UNK]", "|", "é", "́", "ש", "ל", "ו", "ם", "한", "글"),
        "tokenizer": {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": None, "eos_token": None},
    },
    "a bracket of its own as a label": {
        "vocab": numbered("<pad>", "<s>", "</s>", "<unk>", "|", "<", ">", "[", "]", "a"),
        "tokenizer": {},
    },
    "more special tokens": {
        "vocab": numbered("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "<noise>"),
        "tokenizer": {"additional_special_tokens": ["<noise>"]},
    },
}


def write(folder: Path, case: dict[str, Any]) -> ConfigJson:
    settings = {
        "tokenizer_class": CHARS,
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "word_delimiter_token": "|",
        **case["tokenizer"],
    }
    (folder / "vocab.json").write_text(json.dumps(case["vocab"]))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return {"vocab_size": max(case["vocab"].values()) + 1, "pad_token_id": case.get("pad", 0), "dtype": "float16"}


def theirs(folder: Path, path: list[int], labels: Labels) -> str:
    """As transformers decodes it, without the special tokens that it writes out and we never do.

    Its ``from_pretrained`` (5.23) takes ``|`` for the delimiter whatever the file names; its class does not.
    """
    kind: Any = transformers.Wav2Vec2CTCTokenizer
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer = kind(str(folder / "vocab.json"), **{key: value for key, value in settings.items() if value != CHARS})
    text = str(tokenizer.decode(path))
    for special in sorted({*tokenizer.all_special_tokens, *labels.silent}, key=len, reverse=True):
        text = text.replace(special, "") if special.strip() and special != labels.delimiter else text
    return text


@pytest.mark.parametrize("name", CASES)
def test_text_of_fixed_logits(name: str, tmp_path: Path, spell: Callable[[list[int], Labels], str]) -> None:
    config = write(tmp_path, CASES[name])
    labels = read_labels(tmp_path, config, CTC)
    random = np.random.default_rng(4)
    used = [index for index, label in enumerate(labels.names) if not label.startswith("<unused")]
    # A longer pause ends a word here, and not in transformers: labels that are no text are rarer.
    weights = np.array([0.3 if labels.names[i] in labels.silent or i == labels.blank else 1.0 for i in used])
    for _ in range(20):
        path = random.choice(used, 40, p=weights / weights.sum()).repeat(2).tolist()
        assert spell(path, labels).split() == theirs(tmp_path, path, labels).split()


@pytest.mark.parametrize("written", ["-", "\u3000", "  ", "|"])
def test_delimiter_written_as_another_character(tmp_path: Path, written: str) -> None:
    """Our text had spaces where transformers writes the character, and nothing said so."""
    case = {
        "vocab": numbered("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS),
        "tokenizer": {"replace_word_delimiter_char": written},
    }
    config = write(tmp_path, case)
    with pytest.raises(CheckpointError, match=r'replace_word_delimiter_char is .*; set it to " ", or to "" for'):
        read_labels(tmp_path, config, CTC)
    case["tokenizer"] = {"replace_word_delimiter_char": written, "word_delimiter_token": "#"}
    assert read_labels(tmp_path, write(tmp_path, case), CTC).delimiter is None  # none of the labels


@pytest.mark.parametrize("key", ["preprocessor_config.json", "processor_config.json"])
def test_settings_of_transformers_5(key: str, tmp_path: Path) -> None:
    """``processor_config.json`` alone, with the extractor inside; and the older file."""
    extractor = {"do_normalize": False, "sampling_rate": 16000, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    content = extractor if key.startswith("pre") else {"feature_extractor": extractor, "processor_class": "X"}
    (tmp_path / key).write_text(json.dumps(content))
    assert read_preprocessing(tmp_path, None).normalize is False
