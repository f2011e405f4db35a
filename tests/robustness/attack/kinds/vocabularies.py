"""Vocabularies and tokenizer files: we decode what transformers' own tokenizer decodes, and damage is one line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.random import Generator

from wav2edge.export.families import HEADS
from wav2edge.export.labels import Labels, read_labels
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec, Output
from wav2edge.runtime.heads import ctc

from ..mutation import damaged, edited, pick, value, written

LETTERS = [*"abcdefghijklmnopqrstuvwxyz'éßİ北京", "ch", "sch", "ə", "uː", "tʃ", "ａ"]
SPECIAL = ("pad_token", "unk_token", "bos_token", "eos_token")
WRITTEN = {
    "pad_token": ("<pad>", "[PAD]"),
    "unk_token": ("<unk>", "[UNK]"),
    "bos_token": ("<s>",),
    "eos_token": ("</s>",),
}
FAST = {
    "model": {"type": "WordLevel", "vocab": {"<pad>": 0, "|": 1, "a": 2}},
    "added_tokens": [{"id": 3, "content": "<s>", "special": True}],
}


class Inputs:
    """The tokenizer's files of a checkpoint."""

    def __init__(self, scratch: Path) -> None:
        """Keep transformers quiet."""
        logging.disable(logging.WARNING)
        torch.set_num_threads(1)

    def __call__(self, random: Generator, folder: Path) -> str:
        """Read the labels of good files and compare texts, or those of damaged ones."""
        files, config = _good(random)
        if random.random() < 0.35:
            for name, values in files.items():
                (folder / f"{name}.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
            return _compare(random, folder, config, read_labels(folder, config, HEADS[0]))  # type: ignore[arg-type]
        for name, values in files.items():
            changed = edited(random, values, int(random.integers(0, 4)))
            (folder / f"{name}.json").write_bytes(written(random, changed))
        if random.random() < 0.1:
            (folder / "tokenizer.json").write_bytes(written(random, edited(random, FAST, 2)))
            (folder / "vocab.json").unlink()
        config = {**config, "vocab_size": pick(random, (config["vocab_size"], 10**9, 2**40, 0, 1, 7))}
        language = pick(random, (None, None, None, "fra", "..", "\0", "x" * 300, "../x"))
        vocabulary = None
        if random.random() < 0.1:
            vocabulary = folder / pick(random, ("dict.ltr.txt", "other.json"))
            vocabulary.write_bytes(
                damaged(random, b"| 100\nE 90\nT 80\n") if random.random() < 0.7 else written(random, value(random))
            )
        labels = read_labels(folder, config, pick(random, HEADS), language, vocabulary)  # type: ignore[arg-type]
        assert len(labels.names) <= 10**6, "labels without bound"
        return "labels"


def _good(random: Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Files that a training run may have left, and the part of config.json that belongs to them."""
    letters = [LETTERS[int(place)] for place in random.permutation(len(LETTERS))[: int(random.integers(2, 12))]]
    tokens = {name: pick(random, WRITTEN[name]) for name in SPECIAL}
    delimiter = "|"
    labels = [*letters, delimiter]
    if random.random() < 0.8:
        labels += [token for token in tokens.values() if random.random() < 0.8]
    labels = [labels[int(place)] for place in random.permutation(len(labels))]
    if tokens["pad_token"] not in labels:
        labels.insert(int(random.integers(len(labels) + 1)), tokens["pad_token"])
    vocab = {label: index for index, label in enumerate(labels)}
    settings: dict[str, Any] = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": delimiter, **tokens}
    files: dict[str, Any] = {"vocab": vocab, "tokenizer_config": settings}
    size = len(labels)
    missing = [token for token in tokens.values() if token not in vocab]
    way = int(random.integers(6))
    if way == 0 and missing:
        files["added_tokens"] = {token: size + place for place, token in enumerate(missing)}
    elif way == 1 and missing:
        settings["added_tokens_decoder"] = {
            str(size + place): {
                "content": token,
                "special": True,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for place, token in enumerate(missing)
        }
    if way in (0, 1) and random.random() < 0.7:
        size += len(missing)
    if way == 2:
        doubled = pick(random, letters)
        vocab[pick(random, ("q2", "zz", "ñ"))] = vocab[doubled]
    if way == 3 and len(letters) > 2:
        del vocab[letters[0]]
    if way == 4:
        settings["do_lower_case"] = True
    if way == 5:
        settings["replace_word_delimiter_char"] = pick(random, (" ", ""))
    return files, {"vocab_size": size, "pad_token_id": labels.index(tokens["pad_token"])}


def _compare(random: Generator, folder: Path, config: dict[str, Any], labels: Labels) -> str:
    tokenizer: Any = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    specials = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
    for _ in range(3):
        path = random.integers(0, config["vocab_size"], 25).repeat(random.integers(1, 4, 25)).tolist()
        text = str(tokenizer.decode(path))
        for special in specials:
            for spelt in (special, special.lower()):
                text = text.replace(spelt, "")
        ours = _text(path, labels)
        assert ours.split() == text.split(), f"we decode {ours!r}, transformers {text!r}"
    return "the same text"


def _text(path: list[int], labels: Labels) -> str:
    logits = np.zeros((len(path), len(labels.names)), dtype=np.float32)
    logits[np.arange(len(path)), path] = 5.0
    spec = ModelSpec(
        architecture="wav2vec2",
        head="ctc",
        normalize=True,
        norm="layer",
        outputs=(Output("logits", ("batch", "frames", "labels"), "scores"),),
        labels=labels.names,
        time=(Convolution(1, 1, 0),),
        head_options=ctc.Options(silent=labels.silent, lowercase=labels.lowercase),
        blank=labels.blank,
        delimiter=labels.delimiter,
        tokenizer=labels.tokenizer,
    )
    return ctc.joined(ctc.greedy(logits, spec), spec)
