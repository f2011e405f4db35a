"""The JSON files of a checkpoint, each with the keys that wav2edge uses and their types.

Files are written by many tools and by hand: a key that is there must have its type, or one line names the file and the
key; keys that are not listed here are kept without a check.
"""

from __future__ import annotations

import json
import stat
import types
from pathlib import Path
from typing import TypedDict, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ..runtime.errors import CheckpointError

MAX_BYTES = 64 << 20
"""Largest JSON file that is opened. The largest known, vocab.json of mms-1b-all with 1 162 languages, has 2 MB."""


class TokenJson(TypedDict, total=False):
    """A token that is written as an object, as transformers' AddedToken is."""

    content: str
    special: bool


class ConfigJson(TypedDict, total=False):
    """``config.json``: what transformers needs to build the model."""

    model_type: str
    architectures: list[str] | None
    auto_map: dict[str, object]
    speechbrain_interface: str
    vocab_size: int | None
    pad_token_id: int | None
    id2label: dict[str, str | float] | None
    num_labels: int | None
    classifier_proj_size: object
    problem_type: str | None
    dtype: str | None
    torch_dtype: str | None
    num_hidden_layers: int
    hidden_size: int
    feat_extract_norm: str
    conv_dim: list[int]
    adapter_attn_dim: int | None


class PreprocessorJson(TypedDict, total=False):
    """``preprocessor_config.json``: what the feature extractor does to a waveform."""

    feature_extractor_type: str
    do_normalize: bool
    sampling_rate: object
    feature_size: int
    num_mel_bins: int
    stride: int


class ProcessorJson(TypedDict, total=False):
    """``processor_config.json``: transformers 5 writes the extractor's settings inside."""

    feature_extractor: PreprocessorJson | None
    audio_processor: PreprocessorJson | None


class TokenizerJson(TypedDict, total=False):
    """``tokenizer_config.json``, and ``special_tokens_map.json``, which has some of its keys."""

    tokenizer_class: str | None
    pad_token: str | TokenJson | None
    unk_token: str | TokenJson | None
    bos_token: str | TokenJson | None
    eos_token: str | TokenJson | None
    sep_token: str | TokenJson | None
    cls_token: str | TokenJson | None
    mask_token: str | TokenJson | None
    word_delimiter_token: str | TokenJson | None
    replace_word_delimiter_char: str | None
    added_tokens_decoder: dict[str, TokenJson] | None
    additional_special_tokens: object
    extra_special_tokens: object
    do_lower_case: bool | None
    target_lang: str | None


class AddedTokenJson(TokenJson, total=False):
    """An entry of tokenizer.json's ``added_tokens``."""

    id: int


class VocabularyModelJson(TypedDict, total=False):
    """The ``model`` of tokenizer.json; vocab is a table, or a list of pieces with their scores."""

    vocab: dict[str, int] | list[object]


class FastTokenizerJson(TypedDict, total=False):
    """``tokenizer.json`` of the tokenizers library."""

    model: VocabularyModelJson | None
    added_tokens: list[AddedTokenJson] | None


class AdapterJson(TypedDict, total=False):
    """``adapter_config.json`` of PEFT."""

    peft_type: str
    base_model_name_or_path: str | None
    revision: str | None
    auto_mapping: dict[str, object] | None
    lora_alpha: float
    init_lora_weights: object
    alpha_pattern: dict[str, float] | None
    use_rslora: bool
    fan_in_fan_out: bool


class WeightIndexJson(TypedDict, total=False):
    """``model.safetensors.index.json`` and its like: which shard holds which weight."""

    weight_map: dict[str, object]


AddedTokensJson = dict[str, int]
"""``added_tokens.json``: labels and their indices."""

Document = TypeVar("Document")


def read_document(path: Path, kind: type[Document], required: str | None = None) -> Document:
    """A JSON object with the keys of ``kind``, a TypedDict; empty where the file is missing.

    required: what it means that the file is missing; then that is an error. Raises CheckpointError with the file's
    name, and the key's where one has another type.
    """
    values = read_object(path, required)
    if (fault := _fault(values, kind, "")) is not None:
        raise CheckpointError(f"{path}: {fault}")
    return cast(Document, values)


def read_object(path: Path, required: str | None = None) -> dict[str, object]:
    """A JSON object; empty where the file is missing, unless ``required`` says what that means."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path}: not a plain file")
        if status.st_size > MAX_BYTES:
            raise CheckpointError(f"{path}: {status.st_size} bytes, too large for a file of settings")
        # Editors on Windows put a byte order mark in front, which transformers accepts.
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        if required is None:
            return {}
        raise CheckpointError(f"{path.parent}: no {path.name}; {required}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: cannot be read ({announced_line(error)})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return values


def is_file(path: Path) -> bool:
    """Whether a file is there; False too for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def announced_line(error: BaseException) -> str:
    """The first line of an error's message; two where the first only announces the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _fault(value: object, annotation: object, key: str) -> str | None:
    """What is wrong with a JSON value at ``key`` for a TypedDict's field, named where it is; None for nothing."""
    choices = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    inner = next((choice for choice in choices if _same_kind(value, choice)), None)
    if inner is None:
        return f"{key} is {str(value)[:60]}; it must be {_in_words(annotation)}"
    faults = (_fault(item, wanted, f"{key}{part}".lstrip(".")) for part, item, wanted in _parts(value, inner))
    return next((fault for fault in faults if fault is not None), None)


def _same_kind(value: object, annotation: object) -> bool:
    """Whether a JSON value has the type of a field, whatever the values inside it are."""
    kind = get_origin(annotation) or annotation
    if kind is int or kind is float:
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, dict):
        return isinstance(value, dict)
    return isinstance(kind, type) and isinstance(value, kind)


def _parts(value: object, annotation: object) -> list[tuple[str, object, object]]:
    """What is inside an object or a list that has a type: where (``.key``, ``[0]``), the value and its type."""
    if isinstance(value, list) and get_args(annotation):
        return [(f"[{index}]", item, get_args(annotation)[0]) for index, item in enumerate(value)]
    if isinstance(value, dict) and get_origin(annotation) is dict:
        return [(f".{str(key)[:60]}", item, get_args(annotation)[1]) for key, item in value.items()]
    if isinstance(value, dict) and isinstance(annotation, type) and issubclass(annotation, dict):
        return [(f".{key}", value[key], hint) for key, hint in get_type_hints(annotation).items() if key in value]
    return []


def _in_words(annotation: object) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_in_words(choice) for choice in get_args(annotation))
    names: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        type(None): "null",
    }
    if get_origin(annotation) is list:
        return "a list"
    return names.get(annotation, "an object")
