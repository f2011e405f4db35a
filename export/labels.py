"""What the label axis means: a classifier's labels; for CTC the vocabulary, the blank and how text is written."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bundle.spec import Tokenizer
from ..runtime.errors import CheckpointError
from .documents import ConfigJson, TokenizerJson, is_file, read_document
from .families import Head
from .foreign import SPECIAL, read_dictionary
from .label_groups import label_groups
from .languages import LanguageFiles, choose_language
from .vocabulary import PIECE, VOCABULARY, Table, read_table, refuse_half_characters, token

SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
"""The ``problem_type`` of transformers' classifiers of clips: exactly one label holds (its default), any number of
them, or each label is a number."""
DEFAULT_LABELS = 2
"""transformers' own number of a classifier's labels where config.json has none."""
VOCAB_SIZE = 32
"""transformers' own default where config.json names no vocab_size."""


@dataclass(frozen=True)
class Labels:
    """Labels by index, and for CTC how text is made from them."""

    names: tuple[str, ...]
    """The label of each index of the output layer."""
    blank: int | None = None
    """The index of CTC's blank."""
    delimiter: str | None = None
    """The label between words; None where there is none."""
    tokenizer: Tokenizer = "char"
    """``char``, ``piece`` or ``phoneme``."""
    lowercase: bool = False
    """Whether the tokenizer lowers its output."""
    language: str | None = None
    """The code of the language, where the checkpoint or the user names one."""
    silent: tuple[str, ...] = ()
    """Labels that never become text: special tokens, and indices that have no label."""
    adapter: Path | None = None
    """The file with the weights of the language, where they are not among the checkpoint's."""
    groups: tuple[int, ...] = ()
    """Sizes of consecutive groups of a classifier's labels, of which one holds each; empty: all are one group."""
    vocabulary: Path | None = None
    """The vocab.json that the labels are from; None where they are from another file."""


def read_labels(
    path: Path,
    config: ConfigJson,
    head: Head,
    language: str | None = None,
    vocabulary: Path | None = None,
    groups: Sequence[int] = (),
    files: LanguageFiles | None = None,
) -> Labels:
    """The labels of a checkpoint; ``language`` names one of several vocabularies.

    vocabulary: a file in place of vocab.json, of its format or a dictionary of fairseq (.txt). groups: sizes of groups
    of a classifier's labels. files: where the weights of single languages are; None: in ``path``. Raises
    CheckpointError where labels are missing or do not fit its output layer.
    """
    one_of_all = head.name == "sequence_classification" and _one_holds(path / "config.json", config)
    if groups and not one_of_all:
        raise CheckpointError(f"{path}: only a classifier of which one label holds has groups of labels")
    if head.name != "ctc" and (vocabulary is not None or language is not None):
        given = "a vocabulary" if vocabulary is not None else f"language {language!r}"
        raise CheckpointError(f"{path}: {given} is for a model that transcribes; this one's head is {head.name}")
    if head.name == "ctc":
        if vocabulary is not None and not is_file(vocabulary):
            raise CheckpointError(f"{vocabulary}: no such file; name a vocab.json, or a dictionary of fairseq")
        if vocabulary is not None and vocabulary.suffix != ".json":
            return _dictionary_labels(vocabulary, config, language)
        return _ctc_labels(path, config, language, vocabulary or path / VOCABULARY, files)
    if head.name in ("xvector", "encoder"):
        return Labels(())
    names = _class_names(path / "config.json", config)
    if one_of_all and len(names) == 1:
        raise CheckpointError(
            f'{path / "config.json"}: one label, whose share of all labels is always 1; write "problem_type" there, '
            f'"{REGRESSION}" where the model gives a number or "{MULTI_LABEL}" where it gives a probability'
        )
    return Labels(names, groups=label_groups(names, groups, str(path)) if one_of_all else ())


def numbered_names(count: int) -> tuple[str, ...]:
    """The names that transformers gives to labels where nothing names them."""
    return tuple(f"LABEL_{index}" for index in range(count))


def _one_holds(file: Path, config: ConfigJson) -> bool:
    """Whether exactly one label of a clip holds; raises CheckpointError for a ``problem_type`` of no meaning."""
    problem = config.get("problem_type")
    if problem not in (None, SINGLE_LABEL, MULTI_LABEL, REGRESSION):
        raise CheckpointError(
            f"{file}: problem_type is {problem[:60]!r}; it must be {SINGLE_LABEL}, {MULTI_LABEL} or {REGRESSION}"
        )
    return problem in (None, SINGLE_LABEL)


def _class_names(file: Path, config: ConfigJson) -> tuple[str, ...]:
    """A classifier's labels in order: config.json names them, or only their number, transformers' default being 2."""
    names, count = config.get("id2label") or {}, config.get("num_labels")
    try:
        table = {int(key): str(name) for key, name in names.items()}
    except ValueError as error:
        raise CheckpointError(f"{file}: id2label has a key that is not a number ({error})") from None
    if sorted(table) != list(range(len(names))):
        raise CheckpointError(f"{file}: id2label must number its {len(names)} labels from 0 on")
    if count is not None and count < 1:
        raise CheckpointError(f"{file}: num_labels is {count}; it must be the number of labels")
    ordered = tuple(table[index] for index in range(len(table)))
    refuse_half_characters(ordered, file)
    if count in (None, len(ordered)):
        return ordered or numbered_names(DEFAULT_LABELS)
    # Where the two disagree, transformers drops the names with a warning.
    if ordered != numbered_names(len(ordered)):
        raise CheckpointError(
            f"{file}: num_labels is {count}, but id2label names {len(ordered)} labels; remove or correct the wrong one"
        )
    return numbered_names(count)


def _dictionary_labels(file: Path, config: ConfigJson, language: str | None) -> Labels:
    """The labels of fairseq's dictionary: the padding token is the blank, and ``|`` ends words where it is a label."""
    names, size = tuple(read_dictionary(file)), _vocabulary_size(file.parent, config)
    if len(names) != size:
        raise CheckpointError(
            f"{file}: {len(names)} labels with the special ones, but the output layer has {size}; "
            "this dictionary belongs to another model"
        )
    if config.get("pad_token_id") not in (None, 0):
        raise CheckpointError(
            f"{file}: a dictionary of fairseq has CTC's blank at 0, and config.json has it at {config['pad_token_id']} "
            "(pad_token_id); name the vocab.json that the model was trained with"
        )
    delimiter = "|" if "|" in names else None
    return Labels(
        names, 0, delimiter, _units(names) if delimiter is None else "char", language=language, silent=SPECIAL[1:]
    )


def _units(names: Sequence[str]) -> Tokenizer:
    """What the labels of fairseq's dictionary are without a word delimiter; it writes a space between phonemes."""
    own = [name for name in names if name not in SPECIAL]
    if any(name.startswith(PIECE) for name in own):
        return "piece"
    return "char" if all(len(unicodedata.normalize("NFC", name)) == 1 for name in own) else "phoneme"


def _vocabulary_size(path: Path, config: ConfigJson) -> int:
    """The number of labels of the output layer; raises CheckpointError where config.json has null."""
    size = config.get("vocab_size", VOCAB_SIZE)
    if size is None:
        raise CheckpointError(f"{path / 'config.json'}: vocab_size is None; it must be the number of labels")
    return size


def _ctc_labels(path: Path, config: ConfigJson, asked: str | None, file: Path, files: LanguageFiles | None) -> Labels:
    settings = _tokenizer_settings(path)
    language = choose_language(path, settings.get("target_lang") or None, asked, file, files)
    size = language.size or _vocabulary_size(path, config)
    table = read_table(path, settings, language.vocabulary, size)
    phonemes = settings.get("tokenizer_class") == "Wav2Vec2PhonemeCTCTokenizer"
    delimiter = token(settings.get("word_delimiter_token", None if phonemes else "|"))
    # Phonemes are always separated by spaces, and some languages are written without: there the tokenizer drops the
    # delimiter.
    dropped = phonemes or settings.get("replace_word_delimiter_char", " ") == ""
    if delimiter in table.names and not dropped:
        _refuse_other_space(path, settings.get("replace_word_delimiter_char"))
    silent = {label for label in table.special if label != delimiter} | ({delimiter or ""} if dropped else set())
    blank = _blank(path, table, settings, config)
    return Labels(
        names=table.names,
        blank=blank,
        delimiter=delimiter if delimiter in table.names and not dropped else None,
        tokenizer="phoneme" if phonemes else "piece" if table.pieces else "char",
        lowercase=bool(settings.get("do_lower_case")),
        language=language.code,
        silent=tuple(name for index, name in enumerate(table.names) if name in silent and index != blank),
        adapter=language.adapter,
        vocabulary=None if language.vocabulary is None else file,
    )


def _refuse_other_space(path: Path, written: str | None) -> None:
    """Raise CheckpointError where the tokenizer writes another character than a space between words."""
    if written not in (None, " "):
        raise CheckpointError(
            f"{path / 'tokenizer_config.json'}: replace_word_delimiter_char is {written!r}; a bundle can only write "
            'a space between words; set it to " ", or to "" for a language that is written without spaces'
        )


def _tokenizer_settings(path: Path) -> TokenizerJson:
    """tokenizer_config.json, completed by the older special_tokens_map.json."""
    settings = read_document(path / "special_tokens_map.json", TokenizerJson)
    settings.update(read_document(path / "tokenizer_config.json", TokenizerJson))
    return settings


def _blank(path: Path, table: Table, settings: TokenizerJson, config: ConfigJson) -> int:
    """CTC's blank is the padding token: what training used (config) and what decoding uses (tokenizer) must agree."""
    names, configured = table.names, config.get("pad_token_id")
    pad = token(settings.get("pad_token", "<pad>"))
    by_tokenizer = names.index(pad) if pad in names else None
    by_config = configured if configured is not None and 0 <= configured < len(names) else None
    if by_tokenizer is not None and by_config is not None and by_tokenizer != by_config:
        raise CheckpointError(
            f"{path}: config.json says that CTC's blank is label {by_config} ({names[by_config]!r}), the tokenizer "
            f"says {by_tokenizer} ({pad!r}); correct pad_token_id in config.json to the one it was trained with"
        )
    if by_tokenizer is not None:
        return by_tokenizer
    if by_config is not None:
        return by_config
    raise CheckpointError(f"{path}: no padding token (CTC's blank) in {table.source}; name it in tokenizer_config.json")
