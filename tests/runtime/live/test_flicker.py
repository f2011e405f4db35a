"""Shown words are corrected only once that is confirmed."""

from __future__ import annotations

from wav2edge.runtime.live.agreement import Agreement
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


def shown(agreement: Agreement) -> str:
    return " ".join(word.text for word in agreement.shown.words)


def test_a_correction_is_shown_once_two_hypotheses_in_a_row_have_it() -> None:
    agreement = Agreement(settle=0.4, tolerance=0.1, wanted=9, confirm=2)
    for end, hypothesis, expected in [
        (1.0, ["turn", "of"], "turn of"),
        (1.5, ["turn", "off", "the"], "turn off the"),  # it was the last word, still being spoken
        (2.0, ["turn", "oft", "the", "lie"], "turn off the lie"),  # one hypothesis wavers
        (2.5, ["turn", "off", "the", "light"], "turn off the light"),
        (3.0, ["tern", "off", "light"], "turn off the light"),
        (3.5, ["tern", "off", "light"], "tern off light"),  # corrected, and one was left out
    ]:
        places = {"turn": 0.1, "tern": 0.1, "of": 0.5, "off": 0.5, "oft": 0.5, "the": 0.9, "lie": 1.3, "light": 1.3}
        agreement.update([word(text, places[text]) for text in hypothesis], float("-inf"), end)
        assert shown(agreement) == expected


def test_what_wavers_on_is_let_go_and_what_is_stable_is_not_shown_twice() -> None:
    agreement = Agreement(settle=0.1, tolerance=0.1, wanted=2, confirm=2)
    for number, text in enumerate(["one", "won", "wan", "when"]):
        agreement.update([word(text, 0.1), word(f"x{number}", 0.5)], float("-inf"), 0.6)
    assert shown(agreement).split()[0] != "one"
    for _ in range(2):
        agreement.update([word("when", 0.1), word("so", 0.5)], float("-inf"), 2.0)
    assert [w.text for w in agreement.stable] == ["when", "so"]
    assert shown(agreement) == ""
