"""What the label axis means: vocabulary, blank, delimiter, and how transformers' tokenizers write text from labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.errors import CheckpointError
from .families import Head
from .json_files import read_json

VOCABULARY = "vocab.json"


@dataclass(frozen=True)
class Labels:
    """Labels by index, and for CTC the blank's index, the delimiter, the tokenizer's kind and its habits."""

    names: tuple[str, ...]
    blank: int | None = None
    delimiter: str | None = None
    tokenizer: str = "char"
    lowercase: bool = False
    language: str | None = None


def read_labels(path: Path, config: Mapping[str, Any], head: Head, language: str | None = None) -> Labels:
    """The labels of a checkpoint; ``language`` names one of several vocabularies.

    Raises CheckpointError where they are missing or do not fit its output layer.
    """
    if head.name == "ctc":
        return _ctc_labels(path, config, language)
    if head.name == "xvector":
        return Labels(())
    names = config.get("id2label") or {}
    if not isinstance(names, dict):
        raise CheckpointError(f"{path / 'config.json'}: id2label is no table")
    try:
        table = {int(key): str(name) for key, name in names.items()}
    except ValueError as error:
        raise CheckpointError(f"{path / 'config.json'}: id2label has a key that is no number ({error})") from None
    if sorted(table) != list(range(len(names))):
        raise CheckpointError(f"{path / 'config.json'}: id2label must number its {len(names)} labels from 0 on")
    # transformers leaves the table out where there are two labels with no names.
    return Labels(tuple(table[index] for index in range(len(table))) or ("LABEL_0", "LABEL_1"))


def _ctc_labels(path: Path, config: Mapping[str, Any], asked: str | None) -> Labels:
    vocabulary = read_json(path / VOCABULARY, required="nothing says what its labels mean, add the tokenizer's file")
    settings = read_json(path / "tokenizer_config.json")
    special = {**read_json(path / "special_tokens_map.json"), **settings}
    target = special.get("target_lang")
    language = target if isinstance(target, str) and target else None
    if any(isinstance(value, dict) for value in vocabulary.values()):
        language = _language(path, vocabulary, language, asked)
        vocabulary = vocabulary[language]
    elif asked is not None:
        language = asked
    size = config.get("vocab_size", 32)
    if not isinstance(size, int):
        raise CheckpointError(f"{path / 'config.json'}: vocab_size is {size!r}; it must be a number")
    names = _by_index(path, vocabulary, read_json(path / "added_tokens.json"), size)
    pad = _token(special.get("pad_token", "<pad>"))
    delimiter = _token(special.get("word_delimiter_token", "|"))
    phonemes = settings.get("tokenizer_class") == "Wav2Vec2PhonemeCTCTokenizer"
    return Labels(
        names=names,
        blank=_blank(path, names, pad, config.get("pad_token_id")),
        delimiter=delimiter if delimiter in names and not phonemes else None,
        tokenizer="phoneme" if phonemes else "char",
        lowercase=bool(special.get("do_lower_case", False)),
        language=language,
    )


def _language(path: Path, vocabulary: Mapping[str, Any], target: str | None, asked: str | None) -> str:
    """Which of the nested vocabularies (MMS: one for each language) belongs to the weights.

    The only one; else what the tokenizer names, or the user does. The weights hold the adapter of one language: another
    than the tokenizer's is refused. Raises CheckpointError as well where nothing names one of several.
    """
    place = path / VOCABULARY
    if not all(isinstance(value, dict) for value in vocabulary.values()):
        raise CheckpointError(
            f"{place}: holds vocabularies of languages beside single labels; save the tokenizer again"
        )
    have = ", ".join(sorted(vocabulary)[:8]) + (" …" if len(vocabulary) > 8 else "")
    if asked is not None and asked not in vocabulary:
        raise CheckpointError(f"{place}: holds no vocabulary for {asked!r}; it has {have}")
    if len(vocabulary) == 1:
        return next(iter(vocabulary))
    if target not in vocabulary:
        target = None
    if asked is not None and target is not None and asked != target:
        raise CheckpointError(
            f"{path}: its weights are of {target!r}, as tokenizer_config.json says; "
            f"save the checkpoint with the adapter and the vocabulary of {asked!r} first"
        )
    chosen = asked or target
    if chosen is None:
        raise CheckpointError(
            f"{place}: holds one vocabulary for each of {len(vocabulary)} languages ({have}); "
            "name the one of the weights with --language"
        )
    return chosen


def _by_index(path: Path, vocabulary: Mapping[str, Any], added: Mapping[str, Any], size: int) -> tuple[str, ...]:
    try:
        table = {int(index): str(label) for label, index in vocabulary.items()}
        table = {**{int(i): str(label) for label, i in added.items() if int(i) < size}, **table}
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path / VOCABULARY}: not a table of labels and their indices") from error
    if sorted(table) != list(range(size)):
        raise CheckpointError(
            f"{path / VOCABULARY}: {len(table)} labels up to index {max(table, default=-1)}, but the output layer has "
            f"{size}; this vocabulary belongs to another checkpoint"
        )
    return tuple(table[index] for index in range(size))


def _blank(path: Path, names: tuple[str, ...], pad: str | None, configured: Any) -> int:
    """CTC's blank is the padding token: what training used (config) and what decoding uses (tokenizer) must agree."""
    by_tokenizer = names.index(pad) if pad in names else None
    by_config = configured if isinstance(configured, int) and 0 <= configured < len(names) else None
    if by_tokenizer is None and by_config is None:
        raise CheckpointError(
            f"{path}: no padding token (CTC's blank) in {VOCABULARY}; name it in tokenizer_config.json"
        )
    if by_tokenizer is not None and by_config is not None and by_tokenizer != by_config:
        raise CheckpointError(
            f"{path}: config.json says that CTC's blank is label {by_config} ({names[by_config]!r}), the tokenizer "
            f"says {by_tokenizer} ({pad!r}); correct pad_token_id in config.json to the one it was trained with"
        )
    result = by_tokenizer if by_tokenizer is not None else by_config
    assert result is not None
    return result


def _token(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
