"""Our text is the text of transformers' own processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer

from wav2edge.export.documents import AddedTokensJson, ConfigJson, ProcessorJson, read_document
from wav2edge.export.families import HEADS, POOLED
from wav2edge.export.labels import Labels, read_labels
from wav2edge.runtime.errors import CheckpointError

NAMES = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", "a", "b", "c", "É")
CTC = HEADS[0]


def write(directory: Path, **files: object) -> Path:
    directory.mkdir(exist_ok=True)
    for name, values in files.items():
        (directory / f"{name}.json").write_text(json.dumps(values))
    return directory


@pytest.fixture(scope="module", params=[False, True], ids=["as they are", "lower case"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Wav2Vec2CTCTokenizer, Labels]:
    directory = tmp_path_factory.mktemp("tokenizer")
    vocabulary = write(directory, vocab={name: i for i, name in enumerate(NAMES)}) / "vocab.json"
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary), do_lower_case=request.param)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(directory)
    return tokenizer, read_labels(directory, {"vocab_size": len(NAMES), "pad_token_id": 0}, CTC)


@settings(max_examples=200, deadline=None)
@given(path=st.lists(st.integers(0, len(NAMES) - 1), max_size=30))
def test_text_equals_the_processors(
    spell: Callable[[list[int], Labels], str], pair: tuple[Wav2Vec2CTCTokenizer, Labels], path: list[int]
) -> None:
    """Repeats, blanks, delimiters; special labels never become text, which transformers writes out by default.

    A pause between two delimiters gives transformers two spaces; words are what is compared.
    """
    tokenizer, labels = pair
    theirs = tokenizer.batch_decode([path])[0]
    for special in ("<s>", "</s>", "<unk>"):
        theirs = theirs.replace(special, "")
    assert spell(path, labels).split() == theirs.split()


def test_added_tokens_complete_the_vocabulary(tmp_path: Path) -> None:
    """XLS-R recipes keep <s> and </s> in added_tokens.json, after the vocabulary's labels."""
    write(tmp_path, vocab={"a": 0, "|": 1, "[PAD]": 2}, added_tokens={"<s>": 3, "</s>": 4})
    write(tmp_path, tokenizer_config={"pad_token": {"content": "[PAD]"}, "word_delimiter_token": "|"})
    full = read_labels(tmp_path, {"vocab_size": 5, "pad_token_id": 2}, CTC)
    assert full.names == ("a", "|", "[PAD]", "<s>", "</s>") and full.blank == 2
    without = read_labels(tmp_path, {"vocab_size": 3, "pad_token_id": 2}, CTC)
    assert without.names == ("a", "|", "[PAD]")


def test_blank_from_config_where_the_tokenizer_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, vocab={"a": 0, "|": 1, "[PAD]": 2})
    assert read_labels(tmp_path, {"vocab_size": 3, "pad_token_id": 2}, CTC).blank == 2
    with pytest.raises(CheckpointError, match="no padding token"):
        read_labels(tmp_path, {"vocab_size": 3, "pad_token_id": None}, CTC)


def test_phonemes_have_no_delimiter(tmp_path: Path, spell: Callable[[list[int], Labels], str]) -> None:
    write(tmp_path, vocab={"<pad>": 0, "tʃ": 1, "aɪ": 2, "|": 3})
    write(tmp_path, tokenizer_config={"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer"})
    labels = read_labels(tmp_path, {"vocab_size": 4, "pad_token_id": 0}, CTC)
    assert (labels.tokenizer, labels.delimiter) == ("phoneme", None)
    assert spell([1, 0, 2, 2], labels) == "tʃ aɪ"


def test_nested_vocabularies(tmp_path: Path) -> None:
    """MMS keeps one vocabulary a language; the weights are of one, which the tokenizer or the user names."""
    turkish, french = {"<pad>": 0, "|": 1, "ş": 2}, {"<pad>": 0, "|": 1, "é": 2}
    config: ConfigJson = {"vocab_size": 3, "pad_token_id": 0}
    write(tmp_path, vocab={"tur": turkish}, tokenizer_config={"target_lang": "eng"})
    only = read_labels(tmp_path, config, CTC)
    assert only.names == ("<pad>", "|", "ş") and only.language == "tur"
    write(tmp_path, vocab={"tur": turkish, "fra": french})
    for unknown in ({}, {"target_lang": None}, {"target_lang": "eng"}):
        write(tmp_path, tokenizer_config=unknown)
        with pytest.raises(CheckpointError, match=r"2 languages .fra, tur.; .* language=CODE"):
            read_labels(tmp_path, config, CTC)
        assert read_labels(tmp_path, config, CTC, "fra").names[2] == "é"
    write(tmp_path, tokenizer_config={"target_lang": "fra"})
    assert read_labels(tmp_path, config, CTC).names[2] == "é"
    with pytest.raises(CheckpointError, match="its weights are of 'fra'"):
        read_labels(tmp_path, config, CTC, "tur")
    write(tmp_path, vocab={"tur": turkish, "a": 1})
    with pytest.raises(CheckpointError, match="beside single labels"):
        read_labels(tmp_path, config, CTC)


def test_labels_of_a_classifier(tmp_path: Path) -> None:
    head = next(head for head in HEADS if head.name == "sequence_classification")
    table: dict[str, str | float] = {"10": "k", **{str(i): c for i, c in enumerate("abcdefghij")}}
    assert read_labels(tmp_path, {"id2label": table}, head).names == tuple("abcdefghijk")
    wrong: list[dict[str, str | float]] = [{"yes": "a", "1": "b"}, {"0": "a", "2": "b"}]
    for broken, reason in zip(wrong, ("not a number", "from 0 on")):
        with pytest.raises(CheckpointError, match=reason):
            read_labels(tmp_path, {"id2label": broken}, head)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_labels": 5},
        {"num_labels": 5, "id2label": None},
        {"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        {"num_labels": 2, "id2label": {"1": "no", "0": "yes"}},
        {"num_labels": None, "id2label": {"0": "yes", "1": "no", "2": "maybe"}},
        {"id2label": {"0": 0, "1": 1.5}},
    ],
    ids=str,
)
def test_labels_that_only_have_a_number(tmp_path: Path, config: ConfigJson) -> None:
    """``num_labels`` was ignored: the whole export ran before the number of scores was wrong. Numbers are names too."""
    write(tmp_path, config=config)
    head = next(head for head in HEADS if head.name == "sequence_classification")
    given = {key: value for key, value in config.items() if value is not None}
    names: Any = Wav2Vec2Config.from_dict(given).id2label
    found = read_labels(tmp_path, read_document(tmp_path / "config.json", ConfigJson), head).names
    assert found == tuple(str(names[index]) for index in range(len(names)))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"num_labels": 0}, "num_labels is 0; it must be the number of labels"),
        ({"num_labels": 5, "id2label": {"0": "a", "1": "b"}}, "num_labels is 5, but id2label names 2 labels"),
    ],
)
def test_numbers_of_labels_that_cannot_be(tmp_path: Path, config: ConfigJson, reason: str) -> None:
    head = next(head for head in HEADS if head.name == "frame_classification")
    with pytest.raises(CheckpointError, match=reason):
        read_labels(tmp_path, config, head)


@pytest.mark.parametrize("half", ["\ud83d", "a\ude00"])
def test_a_label_with_half_of_a_character(tmp_path: Path, half: str) -> None:
    """The whole export ran, and ended in an internal error when bundle.json was written."""
    write(tmp_path, vocab={"<pad>": 0, half: 1})
    with pytest.raises(CheckpointError, match=r"vocab.json: the label '.*\\ud.*' has half of a character"):
        read_labels(tmp_path, {"vocab_size": 2}, HEADS[0])
    head = next(head for head in HEADS if head.name == "sequence_classification")
    with pytest.raises(CheckpointError, match=r"config.json: the label .* has half of a character"):
        read_labels(tmp_path, {"id2label": {"0": half, "1": "b"}}, head)


ONE = {"0": "age"}


@pytest.mark.parametrize("suffix", ["ForSequenceClassification", "ForSpeechClassification"])
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"num_labels": 1}, 'one label, .* always 1; write "problem_type" there, "regression" where .* a number'),
        ({"id2label": ONE}, "one label"),
        ({"id2label": ONE, "problem_type": "single_label_classification"}, "one label"),
        ({"problem_type": "multi_label"}, "problem_type is 'multi_label'; it must be single_label_classification, "),
        ({"id2label": ONE, "problem_type": "Regression"}, "problem_type is 'Regression'"),
    ],
)
def test_a_classifier_whose_scores_mean_nothing(tmp_path: Path, config: ConfigJson, reason: str, suffix: str) -> None:
    """One label was given the score 1.0 for every clip, and a misspelt kind of labels was one label of all."""
    head = next(head for head in (*HEADS, POOLED) if head.suffix == suffix)
    with pytest.raises(CheckpointError, match=rf"config\.json: {reason}"):
        read_labels(tmp_path, config, head)
    for problem in ("regression", "multi_label_classification"):
        assert read_labels(tmp_path, {"id2label": {"0": "age"}, "problem_type": problem}, head).names == ("age",)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"id2label": {"0": "a", "1": None}}, r"id2label\.1 is None; it must be a text or a number$"),
        ({"id2label": ["a", "b"]}, r"id2label is .*; it must be an object or null$"),
        ({"architectures": ["Wav2Vec2ForCTC", 7]}, r"architectures\[1\] is 7; it must be a text$"),
        ({"num_labels": 5.0}, r"num_labels is 5\.0; it must be a whole number or null$"),
    ],
)
def test_a_value_inside_an_object_is_named(tmp_path: Path, values: dict[str, object], reason: str) -> None:
    """The error said of an object that it must be an object."""
    write(tmp_path, config=values)
    with pytest.raises(CheckpointError, match=reason):
        read_document(tmp_path / "config.json", ConfigJson)


def test_a_value_deep_inside_is_named(tmp_path: Path) -> None:
    write(tmp_path, processor={"feature_extractor": {"do_normalize": "yes"}}, added={"a": "1"})
    with pytest.raises(CheckpointError, match=r"feature_extractor\.do_normalize is yes; it must be true or false$"):
        read_document(tmp_path / "processor.json", ProcessorJson)
    with pytest.raises(CheckpointError, match=r"added\.json: a is 1; it must be a whole number$"):
        read_document(tmp_path / "added.json", AddedTokensJson)
