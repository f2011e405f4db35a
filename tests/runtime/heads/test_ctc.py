"""From logits to words: collapse, alignment, times, confidence."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import ctc


def logits_of(path: list[int], labels: int = 4, height: float = 6.0) -> np.ndarray:
    rows = np.zeros((len(path), labels), np.float32)
    rows[np.arange(len(path)), path] = height
    return rows


def collapsed(path: tuple[int, ...] | list[int], blank: int = 0) -> list[int]:
    """The definition: repeats go, then blanks."""
    return [label for label, _ in itertools.groupby(path) if label != blank]


@given(st.lists(st.integers(0, 3), max_size=40))
def test_collapse_is_the_definition(path: list[int]) -> None:
    found = ctc.tokens(logits_of(path), 0)
    assert [token.label for token in found] == collapsed(path)
    for token in found:
        assert path[token.start : token.end] == [token.label] * (token.end - token.start)
        assert np.exp(token.log_probability) == pytest.approx(np.exp(6) / (np.exp(6) + 3))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.lists(st.integers(1, 2), min_size=1, max_size=3))
def test_alignment_is_the_most_probable_path(seed: int, frames: int, labels: list[int]) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (frames, 3)).astype(np.float32)
    scores = ctc.log_softmax(logits)
    paths = [path for path in itertools.product(range(3), repeat=frames) if collapsed(path) == labels]
    if not paths:
        with pytest.raises(InputError, match="too few"):
            ctc.align(logits, labels, 0)
        return
    best = max(sum(float(scores[t, label]) for t, label in enumerate(path)) for path in paths)
    found = ctc.align(logits, labels, 0)
    path = [0] * frames
    for token in found:
        path[token.start : token.end] = [token.label] * (token.end - token.start)
    assert collapsed(path) == labels
    assert sum(float(scores[t, label]) for t, label in enumerate(path)) == pytest.approx(best, abs=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_greedy_tokens_are_where_alignment_puts_them(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (30, 4)).astype(np.float32)
    found = ctc.tokens(logits, 0)
    again = ctc.align(logits, [token.label for token in found], 0)
    assert [(token.label, token.start, token.end) for token in again] == [
        (token.label, token.start, token.end) for token in found
    ]


def test_words_have_times_and_confidence(ctc_spec: ModelSpec) -> None:
    index = ctc_spec.labels.index
    path = [0, index("h"), index("h"), 0, index("i"), index("|"), index("<s>"), index("a"), 0, 0]
    first, second = ctc.greedy(logits_of(path, len(ctc_spec.labels), 3.0), ctc_spec, first_frame=100)
    assert (first.text, first.start, first.end) == ("hi", 2.02, 2.1)
    assert (second.text, second.start, second.end) == ("a", 2.14, 2.16)
    assert first.confidence == pytest.approx(np.exp(3) / (np.exp(3) + len(ctc_spec.labels) - 1), abs=1e-4)


def test_vocabularies_of_other_kinds(ctc_spec: ModelSpec) -> None:
    characters = dataclasses.replace(ctc_spec, labels=("<pad>", "你", "好"), delimiter=None)
    found = ctc.greedy(logits_of([1, 0, 2], 3), characters)
    assert [word.text for word in found] == ["你", "好"] and ctc.joined(found, characters) == "你好"
    phonemes = dataclasses.replace(ctc_spec, labels=("<pad>", "aɪ", "t"), delimiter=None, tokenizer="phoneme")
    assert ctc.joined(ctc.greedy(logits_of([1, 0, 2], 3), phonemes), phonemes) == "aɪ t"
    pieces = dataclasses.replace(ctc_spec, labels=("<pad>", "▁go", "ing", "▁", "on"), delimiter=None, tokenizer="piece")
    assert [word.text for word in ctc.greedy(logits_of([1, 2, 0, 3, 4], 5), pieces)] == ["going", "on"]


def test_a_piece_of_several_words_keeps_the_gap_between_them(ctc_spec: ModelSpec) -> None:
    """SentencePiece joins words with split_by_whitespace=false: "new york" came as "newyork"."""
    labels = ("<pad>", "▁new▁york", "er", "▁")
    pieces = dataclasses.replace(ctc_spec, labels=labels, delimiter=None, tokenizer="piece")
    assert [word.text for word in ctc.greedy(logits_of([3, 1, 2, 3], 4), pieces)] == ["new yorker"]


def test_nothing_said(ctc_spec: ModelSpec) -> None:
    assert ctc.greedy(np.zeros((0, 32), np.float32), ctc_spec) == []
    assert ctc.greedy(logits_of([0] * 9, 32), ctc_spec) == []
    assert ctc.align(np.zeros((3, 4), np.float32), [], 0) == []


def test_a_word_does_not_span_a_long_pause(ctc_spec: ModelSpec) -> None:
    """A model that writes no delimiter into silence made "latcan" of "lat" and "can", seconds apart."""
    letters = {letter: ctc_spec.labels.index(letter) for letter in "latcn"}

    def said(frames: int, **named: float) -> list[str]:
        path = [letters["l"], letters["a"], letters["t"], *[0] * frames, letters["c"], letters["a"], letters["n"]]
        decode = ctc.Greedy(**named)
        return [word.text for word in decode(logits_of(path, len(ctc_spec.labels)), ctc_spec)]

    assert said(25) == ["latcan"] and said(26) == ["lat", "can"]  # 0.5 s and more, in frames of 20 ms
    assert said(26, word_gap=0.6) == said(100, word_gap=9) == ["latcan"]
    assert said(6, word_gap=0.1) == ["lat", "can"]
    silent = ctc_spec.labels.index("<s>")  # a label that never becomes text is a pause too
    path = [letters["l"], *[0] * 20, silent, *[0] * 20, letters["a"]]
    first, second = ctc.greedy(logits_of(path, len(ctc_spec.labels)), ctc_spec)
    assert (first.end, second.start) == (0.02, 0.84)


def test_labels_that_are_silent_never_become_text(ctc_spec: ModelSpec) -> None:
    """The word delimiter of a phoneme vocabulary was a word of its own; an export lists it with the silent labels."""
    phonemes = dataclasses.replace(
        ctc_spec,
        labels=("<pad>", "|", "t", "dʒ", "</s>"),
        tokenizer="phoneme",
        delimiter=None,
        head_options=ctc.Options(silent=("|", "</s>")),
    )
    found = ctc.greedy(logits_of([2, 1, 3, 4, 0, 1, 2], 5), phonemes)
    assert [word.text for word in found] == ["t", "dʒ", "t"]


def test_confidence_is_never_zero(ctc_spec: ModelSpec) -> None:
    """A word that a language model chose against the sound had the confidence 0, which its type rules out."""
    logits = logits_of([5, 0, 6], len(ctc_spec.labels), height=40.0)
    [word] = ctc.words(ctc.align(logits, [7, 8], 0), ctc_spec)
    assert word.confidence == 1e-4
