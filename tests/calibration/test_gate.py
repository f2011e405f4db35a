"""The gate's words for each way to fail."""

from __future__ import annotations

import numpy as np
import pytest

from wav2edge.calibration.closeness import agreement, sqnr
from wav2edge.calibration.gate import Budget, decide
from wav2edge.calibration.judge import Hypotheses, Measured
from wav2edge.measure.scoring import Difference, Rate
from wav2edge.runtime.errors import InputError


def measured(rise: float = 0.0, high: float = 0.001, agree: float = 0.999, finite: bool = True) -> Measured:
    rate = Rate(0.1, 0.08, 0.12, 10, 100, 10)
    return Measured(
        "onnxruntime", rate, Difference(rise, rise - 0.01, high), agree, 30.0, finite, Hypotheses((), (), (), rate)
    )


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
