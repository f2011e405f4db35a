"""The gate's words for each way to fail."""

from __future__ import annotations

import re

import numpy as np
import pytest

from wav2edge.calibration.closeness import agreement, sqnr
from wav2edge.calibration.gate import Budget, decide
from wav2edge.calibration.judge import Hypotheses, Measured
from wav2edge.measure.figures import FIGURES, Change, Estimate, Name
from wav2edge.measure.runs import TranscriptionRun
from wav2edge.measure.task import Likeness, Unit
from wav2edge.runtime.errors import InputError


def measured(rise: float = 0.0, high: float = 0.001, agree: float = 0.999, finite: bool = True) -> Measured:
    return of_figure("wer", Change(rise, rise - 0.01, high, FIGURES["wer"]), agree, finite=finite)


def of_figure(
    name: Name, change: Change, alike: float, unit: Unit = "words", kind: Likeness = "labels", finite: bool = True
) -> Measured:
    figure = Estimate(FIGURES[name], 0.1, 0.08, 0.12, 10)
    nothing = Hypotheses((), (), TranscriptionRun((), (), ()))
    return Measured("onnxruntime", figure, change, alike, 30.0, finite, nothing, unit, kind)


@pytest.mark.parametrize(
    ("case", "ratio", "text", "words"),
    [
        (measured(rise=0.02, high=0.03), 0.5, "too many words lost: [+]2.00 points, 0.5 allowed", True),
        (measured(rise=float("nan")), 0.5, "too many words lost", True),
        (measured(agree=0.9), 0.5, "too many tokens changed", True),
        (measured(finite=False), 0.5, "NaN or Inf", True),
        (measured(), 1.0, "not faster: 1.00", False),
    ],
)
def test_each_refusal_says_why(case: Measured, ratio: float, text: str, words: bool) -> None:
    verdict = decide(case, ratio, Budget(), force=False)
    assert not verdict.kept and verdict.words is words
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(verdict.text)
    forced = decide(case, ratio, Budget(), force=True)
    assert forced.kept and forced.forced and "by force" in forced.text


@pytest.mark.parametrize(
    ("name", "value", "end", "unit", "kind", "alike", "text"),
    [
        ("eer", 0.02, 0.03, "pairs", "cosine", 0.999, "too much of the equal error rate lost: [+]2.00 points"),
        ("eer", 0.0, 0.001, "pairs", "cosine", 0.98, "embeddings changed too much: cosine 0.9800, 0.99 wanted"),
        ("accuracy", -0.01, 0.0, "labels", "labels", 0.999, "too many labels lost: [+]1.00 points, 0.5 allowed"),
        ("der", 0.01, 0.02, "turns", "labels", 0.999, "too much of the diarization error rate lost"),
        ("ccc", -0.02, 0.0, "numbers", "concordance", 0.999, "too much of the concordance correlation coefficient"),
        ("ccc", 0.0, 0.0, "numbers", "concordance", 0.9, "numbers changed too much: concordance 0.9000"),
        ("cosine", -0.02, 0.0, "recordings", "cosine", 0.98, "embeddings changed too much: cosine 0.9800, 0.99 wanted"),
    ],
)
def test_each_head_is_held_to_its_own_figure(
    name: Name, value: float, end: float, unit: Unit, kind: Likeness, alike: float, text: str
) -> None:
    change = Change(value, min(value, end), max(value, end), FIGURES[name])
    verdict = decide(of_figure(name, change, alike, unit, kind), 0.5, Budget(), force=False)
    assert not verdict.kept and verdict.words and re.search(text, verdict.text)
    better = Change(-value, -value, -value, FIGURES[name])
    assert decide(of_figure(name, better, 0.999, unit, kind), 0.5, Budget(), force=False).text == "kept"


@pytest.mark.parametrize(("wanted", "kept"), [(0.99, True), (0.995, False)])
def test_an_encoder_is_held_to_the_cosine_that_was_asked_for(wanted: float, kept: bool) -> None:
    """Its figure is the same cosine, less 1, which half a hundredth of rise refused before."""
    case = of_figure("cosine", Change(-0.008, -0.01, -0.006, FIGURES["cosine"]), 0.992, "recordings", "cosine")
    assert decide(case, 0.5, Budget(min_cosine=wanted), force=False).kept is kept


def test_a_small_dev_set_is_stated_and_kept() -> None:
    assert decide(measured(high=0.02), 0.5, Budget(), False).text == "kept; dev set too small to resolve 0.5 points"
    assert decide(measured(high=0.004), 0.5, Budget(), False).text == "kept"


def test_speed_is_no_reason_where_it_is_not_asked() -> None:
    assert decide(measured(), None, Budget(), False).kept


def test_speed_that_was_not_judged_is_said() -> None:
    verdict = decide(measured(), None, Budget(), False, ("openvino", "tensorrt"))
    assert verdict.kept and verdict.text == "kept; speed not judged here, it is made for openvino, tensorrt"
    assert decide(measured(high=0.02), None, Budget(), False, ("openvino",)).text.count(";") == 2
    assert not decide(measured(rise=0.02), None, Budget(), False, ("openvino",)).kept


def test_a_variant_that_is_mostly_float_is_refused_where_it_cannot_be_timed() -> None:
    """It was kept with 29 of 34 layers in float, on a machine without the engine that it is made for."""
    verdict = decide(measured(), None, Budget(), False, ("openvino",), in_float=0.6)
    assert not verdict.kept and not verdict.words
    assert verdict.text == "refused, 60 % of its work is in float, and its speed cannot be measured here"
    assert decide(measured(), None, Budget(), True, ("openvino",), in_float=0.6).forced
    assert decide(measured(), None, Budget(), False, ("openvino",), in_float=0.5).kept
    assert decide(measured(), 0.8, Budget(), False, (), in_float=0.6).kept, "its time was measured"


def test_a_budget_that_is_no_number_lets_nothing_through() -> None:
    nan = float("nan")
    assert not decide(measured(), 0.5, Budget(nan, 98.0), False).kept
    assert not decide(measured(), 0.5, Budget(0.5, nan), False).kept


def test_agreement_and_noise_count_nan_as_wrong() -> None:
    reference = np.eye(4, dtype=np.float32)
    damaged = reference.copy()
    damaged[0, 0] = np.nan
    assert agreement([reference], [damaged]) == 0.75
    assert sqnr([reference], [damaged]) == float("-inf")
    assert sqnr([reference], [reference * np.float32(1.1)]) == pytest.approx(20.0, abs=0.1)


def test_a_budget_that_is_not_a_number_is_refused() -> None:
    for budget in (Budget(float("nan")), Budget(-1.0), Budget(0.5, 101.0), Budget(0.5, float("inf"))):
        with pytest.raises(InputError, match=r"give (points|percent) from 0 to 100"):
            budget.check()
