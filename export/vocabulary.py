"""The vocabulary of a CTC model as transformers' tokenizers understand it, from the files that people have.

1. ``vocab.json`` numbers labels; where two have one number the later one counts, and numbers may be missing.
   ``tokenizer.json`` (of the tokenizers library) is read where there is no vocab.json.
2. Tokens that were added later are in ``added_tokens.json``, in tokenizer_config.json's ``added_tokens_decoder``, or
   only named there (``bos_token`` …): then they follow the vocabulary, in the order of SPECIAL.
3. The output layer may be smaller than that when the labels beyond it are added tokens, which a model never emits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..runtime.errors import CheckpointError
from ..runtime.escape import is_utf8
from .documents import AddedTokensJson, FastTokenizerJson, TokenizerJson, read_document, read_object

VOCABULARY = "vocab.json"
FAST_TOKENIZER = "tokenizer.json"
SPECIAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": None,
    "pad_token": "<pad>",
    "cls_token": None,
    "mask_token": None,
}
"""Special tokens in the order in which transformers 5 adds them, and what Wav2Vec2CTCTokenizer takes by default."""
_NO_LABELS = "its labels have no meaning without a vocabulary, add the tokenizer's file or name one with vocab=FILE"
PIECE = "▁"
"""Opens a word in SentencePiece vocabularies."""
_BYTE_SPACE = "Ġ"
"""A space in vocabularies of byte-level BPE, and a letter in Maltese."""


@dataclass(frozen=True)
class Table:
    """Labels by index."""

    names: tuple[str, ...]
    """One for each output."""
    special: frozenset[str]
    """Special tokens, and generated names of outputs without a label."""
    source: str
    """The file that they are from."""
    pieces: bool = False
    """Whether labels are pieces of words, as SentencePiece makes them."""


def read_table(path: Path, settings: TokenizerJson, vocabulary: Mapping[str, object] | None, size: int) -> Table:
    """The labels of an output layer of ``size``; vocabulary: of the chosen language, None where there is no vocab.json.

    Raises CheckpointError where there is none, or it cannot be that of this layer.
    """
    if vocabulary is None:
        return _fast_table(path, settings, size)
    try:
        numbered = {int(str(index)): label for label, index in vocabulary.items()}
        table = _with_added_tokens(path, settings, numbered, dict.fromkeys(vocabulary))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path / VOCABULARY}: not a table of labels and their indices") from error
    fitted = _fit(path, VOCABULARY, table, _special(settings), size)
    parted = token(settings.get("word_delimiter_token", "|")) in fitted.names
    return replace(fitted, pieces=not parted and any(label.startswith(PIECE) for label in fitted.names))


def token(value: object) -> str | None:
    """A token that may be written as an object with its text in ``content``."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def refuse_half_characters(labels: Iterable[str], file: Path) -> None:
    """Raise CheckpointError for a label with half of a surrogate pair, which is not text and which no file can hold."""
    broken = next((label for label in labels if not is_utf8(label)), None)
    if broken is not None:
        raise CheckpointError(
            f"{file}: the label {broken!a} has half of a character (a single surrogate of UTF-16); correct the label"
        )


def _special(settings: TokenizerJson) -> set[str]:
    named = {token(settings.get(key, default)) for key, default in SPECIAL.items()}
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = settings.get(key)
        named.update(token(value) for value in (more if isinstance(more, list) else ()))
    listed = settings.get("added_tokens_decoder") or {}
    named.update(value.get("content") for value in listed.values() if value.get("special"))
    return {name for name in named if name}


def _with_added_tokens(
    path: Path, settings: TokenizerJson, numbered: Mapping[int, str], known: dict[str, None]
) -> dict[int, tuple[str, bool]]:
    """Labels by index, and whether each was added after the vocabulary's own (rule 2)."""
    listed = {index: label for label, index in read_document(path / "added_tokens.json", AddedTokensJson).items()}
    decoder = settings.get("added_tokens_decoder") or {}
    listed.update({int(index): value["content"] for index, value in decoder.items() if "content" in value})
    added = {index: label for index, label in listed.items() if index not in numbered}
    known = {**known, **dict.fromkeys(added.values())}
    # Transformers' defaults are not added: a tokenizer that does not name <s> was trained without it.
    for name in (token(settings.get(key)) for key in SPECIAL):
        if name and name not in known and name not in listed.values():
            added[len(known)] = name
            known[name] = None
    table = {index: (label, True) for index, label in added.items() if index not in numbered}
    return {**table, **{index: (label, False) for index, label in numbered.items()}}


def _fit(path: Path, source: str, table: Mapping[int, tuple[str, bool]], special: set[str], size: int) -> Table:
    """Cut to the output layer.

    Raises CheckpointError for labels beyond it, for missing last ones, for bytes, and for half characters.
    """
    beyond = [label for index, (label, added) in table.items() if index >= size and not added and label not in special]
    inside = {index: label for index, (label, _) in table.items() if 0 <= index < size}
    if beyond or min(table, default=0) < 0 or size - 1 not in inside:
        count = len([index for index, (_, added) in table.items() if not added or index < size])
        raise CheckpointError(
            f"{path / source}: {count} labels up to index {max(table, default=-1)}, but the output layer has "
            f"{size}; this vocabulary belongs to another checkpoint"
        )
    if any(label.startswith(_BYTE_SPACE) and len(label) > 1 for label in inside.values()):
        raise CheckpointError(
            f"{path / source}: its labels are sequences of bytes (byte-level BPE), of which a bundle makes no text; "
            "fine-tune the model with letters or SentencePiece's pieces"
        )
    refuse_half_characters(inside.values(), path / source)
    holes = {index: f"<unused {index}>" for index in range(size) if index not in inside}
    names = tuple((inside | holes)[index] for index in range(size))
    return Table(names, frozenset(special | set(holes.values())), source)


def _fast_table(path: Path, settings: TokenizerJson, size: int) -> Table:
    """The vocabulary in tokenizer.json: a table (WordLevel, BPE) or a list of pieces with scores (Unigram)."""
    if not (path / FAST_TOKENIZER).is_file():
        read_object(path / VOCABULARY, required=_NO_LABELS)
    tokenizer = read_document(path / FAST_TOKENIZER, FastTokenizerJson)
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    added = {value["id"]: value["content"] for value in tokenizer.get("added_tokens") or [] if _numbered(value)}
    special = {
        value["content"] for value in tokenizer.get("added_tokens") or [] if value.get("special") and "content" in value
    }
    if isinstance(vocabulary, list):
        numbered = {index: str(entry[0]) for index, entry in enumerate(vocabulary) if isinstance(entry, list) and entry}
    else:
        numbered = {index: label for label, index in vocabulary.items() if isinstance(index, int)}
    table = {index: (label, True) for index, label in added.items()}
    table.update({index: (label, False) for index, label in numbered.items()})
    if not table:
        raise CheckpointError(f"{path / FAST_TOKENIZER}: holds no vocabulary; save the tokenizer again")
    result = _fit(path, FAST_TOKENIZER, table, special | _special(settings), size)
    delimiter = token(settings.get("word_delimiter_token"))
    pieces = any(label.startswith(PIECE) and label != delimiter for label in result.names)
    return Table(result.names, result.special, FAST_TOKENIZER, pieces)


def _numbered(value: Mapping[str, object]) -> bool:
    return isinstance(value.get("id"), int) and isinstance(value.get("content"), str)
