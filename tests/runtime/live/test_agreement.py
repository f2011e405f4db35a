"""Which words become stable, and which stable words a final revised."""

from __future__ import annotations

from dataclasses import replace

from wav2edge.runtime.live.agreement import Agreement, revised
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


def test_words_become_stable_when_two_hypotheses_agree() -> None:
    agreement = Agreement(settle=0.4, tolerance=0.1)
    agreement.update([word("turn", 0.1), word("of", 0.5)], float("-inf"), 0.8)
    assert agreement.stable == []
    agreement.update([word("turn", 0.12), word("off", 0.5, 0.8), word("the", 0.9)], float("-inf"), 1.3)
    assert [w.text for w in agreement.stable] == ["turn"]
    assert [w.text for w in agreement.tentative] == ["off", "the"]
    agreement.update([word("tern", 0.1), word("off", 0.52, 0.8), word("the", 0.9)], float("-inf"), 1.8)
    assert [w.text for w in agreement.stable] == ["turn", "off", "the"], "a stable word is not taken again"


def test_a_word_in_doubt_holds_back_itself_and_what_follows_until_hypotheses_agree() -> None:
    agreement = Agreement(settle=5.0, tolerance=0.1, wanted=4, confirm=3)
    words = [word("the", 0.0), Word("ship", 0.4, 0.6, 0.5), word("sails", 0.8)]
    shown = []
    for hop in range(3):
        agreement.update(words, float("-inf"), 1.0 + 0.5 * hop)
        shown.append([w.text for w in agreement.confident(0.8)])
    assert shown == [["the"], ["the"], ["the", "ship", "sails"]]
    agreement.update([words[0], replace(words[1], text="sheep"), words[2]], float("-inf"), 3.0)
    assert [w.text for w in agreement.confident(0.8)] != ["the", "sheep", "sails"]
    assert [w.text for w in agreement.confident(0.0)] == [w.text for w in agreement.shown.words]


def test_the_same_text_elsewhere_is_no_agreement() -> None:
    agreement = Agreement(settle=0.1, tolerance=0.1)
    agreement.update([word("no", 0.1)], float("-inf"), 1.0)
    agreement.update([word("no", 0.5)], float("-inf"), 1.5)
    assert agreement.stable == []


def test_a_word_that_leaves_the_window_is_stable() -> None:
    agreement = Agreement(settle=0.4, tolerance=0.1)
    agreement.update([word("early", 0.1), word("late", 3.0)], float("-inf"), 3.4)
    agreement.update([word("rly", 1.1), word("later", 3.0)], 1.5, 5.0)
    assert [w.text for w in agreement.words] == ["early", "later"]


def test_revised_counts_what_the_final_lacks() -> None:
    stable = [word(text, i) for i, text in enumerate(["a", "b", "c", "d"])]
    assert revised(stable, stable) == 0
    assert revised(stable, [word(text, i) for i, text in enumerate(["a", "x", "b", "d"])]) == 1
    assert revised(stable, []) == 4
    assert revised([], stable) == 0
