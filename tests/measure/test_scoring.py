"""Error rates, their intervals, and what is compared with what."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2edge.measure import scoring
from wav2edge.runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        ("  Don’t STOP, the 'music' – now!\n", "basic", "don't stop the music now"),
        ("rock'n'roll o' clock", "basic", "rock'n'roll o clock"),
        ("Straße ＡＢＣ e\u0301", "basic", "straße abc \u00e9"),
        ("नमस्ते, दुनिया।", "basic", "नमस्ते दुनिया"),
        (" Don’t\tSTOP, ", "lower", "don’t stop,"),
        (" Don’t\tSTOP, ", "none", "Don’t STOP,"),
        ("'", "basic", ""),
        ("\u200fשלום\u200f, \u202bעולם\u202c co\u00adop", "basic", "שלום עולם coop"),
        ("می\u200cخواهم", "basic", "می\u200cخواهم"),
        ("Go! \U0001f468\u200d\U0001f469\u200d\U0001f467", "basic", "go"),
        ("repeat \u2764\ufe0f, \u2764\ufe0f\u200d\U0001f525", "basic", "repeat"),
        ("1\ufe0f\u20e3 cup", "basic", "1 cup"),
        ("\u00b4stop\u00b4 don\u00b4t \u00a8 \u02dc \u0385", "basic", "stop don't"),
        ("a \u0301b", "basic", "a b"),
        ("J\u030c", "basic", "\u01f0"),
        ("हिन्दी में", "basic", "हिन्दी में"),
    ],
)
def test_normalization(text: str, how: str, expected: str) -> None:
    assert scoring.normalize(text, how) == expected


def test_unknown_normalization_names_the_ways() -> None:
    with pytest.raises(InputError, match="none, lower, basic"):
        scoring.normalize("x", "whisper")


def test_edits_of_a_known_pair() -> None:
    assert scoring.word_edits("the cat sat on mats", "the cat sit on on") == scoring.Edits(5, 2, 0, 0)
    assert scoring.word_edits("", "two words") == scoring.Edits(0, 0, 0, 2)
    assert scoring.word_edits("two words", "") == scoring.Edits(2, 0, 2, 0)
    assert scoring.character_edits("abc d", "abd") == scoring.Edits(5, 0, 2, 0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "length"),
    [
        ("你好，世界。再见！", "你好世界再见", 0, 6),  # punctuation became spaces, which the model cannot write
        ("我 用 iPhone 拍照", "我用iphone拍照", 0, 10),
        ("東京 タワー", "東京タワ", 1, 5),
        ("สวัสดี ครับ", "สวัสดีครับ", 0, 10),
        ("안녕 하세요", "안녕하세요", 1, 6),  # Korean has spaces between words
    ],
)
def test_spaces_in_scripts_without_spaces_are_no_errors(
    reference: str, hypothesis: str, errors: int, length: int
) -> None:
    """Every comma inside a Chinese reference counted as a lost character, whatever the model said."""
    cer = scoring.score([reference], [hypothesis]).cer
    assert (cer.errors, cer.length) == (errors, length)


def test_rates_pool_errors_and_hold_the_value() -> None:
    scores = scoring.score(["a b c d", "e"] * 40, ["a b x d", "E!"] * 40)
    assert scores.wer.value == pytest.approx(40 / 200)
    assert scores.wer.low < scores.wer.value < scores.wer.high
    assert (scores.wer.errors, scores.wer.length, scores.wer.clips) == (40, 200, 80)
    assert scores.cer.length == 40 * (7 + 1)
    assert scoring.score(["a b c d", "e"] * 40, ["a b x d", "E!"] * 40) == scores, "the interval repeats"
    assert "20.0 % [" in str(scores.wer)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of many samples from one source, about 95 in 100 intervals hold the source's rate."""
    generator = np.random.default_rng(1)
    held = 0
    for seed in range(120):
        errors = generator.binomial(10, 0.2, size=60)
        found = scoring.rate([scoring.Edits(10, int(e), 0, 0) for e in errors], draws=600, seed=seed)
        held += found.low <= 0.2 <= found.high
    assert 104 <= held <= 120


def test_pairing_sees_a_difference_that_two_intervals_hide() -> None:
    generator = np.random.default_rng(2)
    hard = generator.integers(0, 11, size=100)
    first = [scoring.Edits(20, int(e), 0, 0) for e in hard]
    second = [scoring.Edits(20, int(e) + (i % 4 == 0), 0, 0) for i, e in enumerate(hard)]
    apart = scoring.difference(first, second)
    assert apart.value == pytest.approx(25 / 2000)
    assert apart.significant and apart.low > 0
    assert scoring.rate(first).high > scoring.rate(second).low, "unpaired, they overlap"
    assert not scoring.difference(first, first).significant
    assert scoring.difference(second, first).value == -apart.value


def test_a_difference_needs_the_same_references() -> None:
    with pytest.raises(InputError, match="same references"):
        scoring.difference([scoring.Edits(3, 0, 0, 0)], [scoring.Edits(4, 0, 0, 0)])


def test_empty_references_give_no_rate_but_count() -> None:
    found = scoring.score(["", "..."], ["what", ""])
    assert math.isnan(found.wer.value) and found.wer.errors == 1
    assert json.loads(json.dumps(found.wer.to_json(), allow_nan=False))["value"] is None


def test_a_single_clip_has_no_interval() -> None:
    found = scoring.score(["a b"], ["a c"])
    assert found.wer.value == 0.5 and math.isnan(found.wer.low) and str(found.wer) == "50.0 %"
    assert not scoring.difference(found.words, found.words).significant


def test_alignment_says_which_word_replaces_which() -> None:
    found = scoring.word_alignment("the cat sat down", "a cat sat quite down")
    assert [(piece.kind, piece.reference, piece.hypothesis) for piece in found] == [
        ("substitute", ("the",), ("a",)),
        ("equal", ("cat", "sat"), ("cat", "sat")),
        ("insert", (), ("quite",)),
        ("equal", ("down",), ("down",)),
    ]
    assert scoring.word_alignment("", "") == ()
    assert [piece.kind for piece in scoring.word_alignment("two words", "")] == ["delete"]
    assert [piece.kind for piece in scoring.word_alignment("", "two")] == ["insert"]


def test_score_needs_pairs() -> None:
    for texts in ([], ["a"]):
        with pytest.raises(InputError, match="needs pairs"):
            scoring.score(texts, [])


words = st.lists(st.sampled_from(["a", "b", "cc"]), max_size=6).map(" ".join)


@given(words, words)
def test_edits_are_a_distance(first: str, second: str) -> None:
    there, back = scoring.word_edits(first, second), scoring.word_edits(second, first)
    assert there.errors == back.errors
    assert (there.errors == 0) == (first == second)
    assert there.length - there.deletions + there.insertions == len(second.split())
    assert abs(len(first.split()) - len(second.split())) <= there.errors <= max(len(first.split()), len(second.split()))
