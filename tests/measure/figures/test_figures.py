"""Figures against values computed by hand, and intervals that mean what they say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wav2edge.measure import figures
from wav2edge.measure.figures import bootstrap, classification, diarization, regression, verification
from wav2edge.measure.figures.diarization import SpeakerTurn
from wav2edge.runtime.errors import InputError


def one_hot(predicted: list[int], confidence: float = 1.0, classes: int = 2) -> NDArray[np.float64]:
    rest = (1 - confidence) / (classes - 1)
    return np.where(np.arange(classes)[None] == np.array(predicted)[:, None], confidence, rest)


def test_accuracy_and_recall_by_hand() -> None:
    """Class 0: three of four right, class 1: one of two."""
    references = np.array([0, 0, 0, 0, 1, 1])
    scores = classification.score(references, one_hot([0, 0, 0, 1, 1, 0]))
    assert scores.accuracy.value == pytest.approx(4 / 6)
    assert scores.uar.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores.accuracy.low <= scores.accuracy.value <= scores.accuracy.high
    assert scores.accuracy.items == 6


def test_a_class_that_does_not_occur_has_no_recall() -> None:
    scores = classification.score(np.array([0, 0, 2, 2]), one_hot([0, 1, 2, 2], classes=3))
    assert scores.uar.value == pytest.approx(0.75)


def test_calibration_error_by_hand() -> None:
    """At 90 % confidence half are right (gap 0.4), at 60 % all (gap 0.4); each bin has half of the clips."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    scores = classification.score(np.array([0, 1, 0, 0]), probabilities)
    assert scores.ece.value == pytest.approx(0.4)
    assert classification.score(np.array([0, 1]), one_hot([0, 1])).ece.value == 0


def test_gaps_of_opposite_sign_cancel_only_inside_a_bin() -> None:
    probabilities = np.array([[0.93, 0.07], [0.91, 0.09]])
    same_bin = classification.score(np.array([0, 1]), probabilities).ece.value
    assert same_bin == pytest.approx(abs(0.07 - 0.91) / 2)


def test_equal_error_rate_and_cost_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.7, 0.3, 0.2])
    targets = np.array([True, True, True, False, False, False])
    found = verification.score(scores, targets)
    assert found.eer.value == pytest.approx(1 / 3)
    assert found.threshold == 0.7
    assert found.min_dcf.value == pytest.approx(1 / 3)  # reject 0.4 and 0.7: a third of the targets missed, cost 0.05


def test_the_rate_between_two_thresholds_is_on_the_line_between_them() -> None:
    """At 2.5: P_miss 1/2, P_fa 2/3; at 3.2: 1/2 and 1/3; the line between them crosses P_miss = P_fa at 1/2."""
    scores = np.array([1.0, 2.0, 3.5, 4.0, 0.0, 2.5, 3.2])
    targets = np.array([True, True, True, True, False, False, False])
    curve = verification.Curve(scores, targets)
    miss, accept = (rates[0] for rates in curve.rates(np.ones((1, 7))))
    at = {float(t): (m, a) for t, m, a in zip(curve.thresholds, miss, accept)}
    assert at[2.5] == pytest.approx((1 / 2, 2 / 3)) and at[3.2] == pytest.approx((1 / 2, 1 / 3))
    assert verification.score(scores, targets).eer.value == pytest.approx(1 / 2)


def test_equal_scores_are_one_threshold() -> None:
    """A model that gives every trial the same score is at chance, not at zero."""
    found = verification.score(np.full(10, 0.5), np.arange(10) < 5)
    assert found.eer.value == pytest.approx(0.5)
    assert found.min_dcf.value == pytest.approx(1.0)


def test_perfect_separation_has_no_error_and_a_threshold_between() -> None:
    found = verification.score(np.array([0.8, 0.9, 0.1, 0.2]), np.array([True, True, False, False]))
    assert (found.eer.value, found.min_dcf.value, found.threshold) == (0, 0, 0.8)
    assert (found.eer.low, found.eer.high) == (0, 0)


def test_a_threshold_keeps_its_false_accept_rate() -> None:
    scores = np.concatenate([np.linspace(0.5, 1.5, 100), np.linspace(0, 1, 1000)])
    targets = np.arange(1100) < 100
    threshold, missed = verification.threshold_at(scores, targets, 0.01)
    assert (scores[100:] >= threshold).mean() == pytest.approx(0.01)
    assert missed == pytest.approx((scores[:100] < threshold).mean())
    assert verification.threshold_at(scores, targets, 0)[0] > 1.0
    assert verification.threshold_at(scores, targets, 1)[1] == 0


@seed(3)
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_rate_is_where_the_brute_force_curve_crosses(trials: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in trials])
    targets = np.array([target for _, target in trials])
    if targets.all() or not targets.any():
        return
    points = [
        ((scores[targets] < t).mean(), (scores[~targets] >= t).mean()) for t in (*np.unique(scores), scores.max() + 1)
    ]
    crossing = next(
        a[0] if a[0] == a[1] else b[0] - (b[0] - b[1]) / ((b[0] - b[1]) - (a[0] - a[1])) * (b[0] - a[0])
        for a, b in itertools.pairwise(points)
        if b[0] >= b[1]
    )
    assert verification.Curve(scores, targets).eer(np.ones((1, len(scores))))[0] == pytest.approx(crossing)


A, B = "anna", "ben"


def test_missed_and_confused_speech_by_hand() -> None:
    """Anna to 10, Ben to 20; the system changes at 8 and stops at 18: two seconds confused, two missed, of twenty."""
    reference = [SpeakerTurn(0, 10, A), SpeakerTurn(10, 20, B)]
    hypothesis = [SpeakerTurn(0, 8, "x"), SpeakerTurn(8, 18, "y")]
    found = diarization.errors(reference, hypothesis)
    assert (found.speech, found.missed, found.false_alarm, found.confusion) == (20, 2, 0, 2)
    assert found.rate == pytest.approx(0.2)
    assert found.mapping == {A: "x", B: "y"}
    collared = diarization.errors(reference, hypothesis, collar=0.25)
    assert collared.rate == pytest.approx((1.75 + 1.75) / 19)


def test_each_of_several_speakers_at_once_counts() -> None:
    found = diarization.errors([SpeakerTurn(0, 10, A), SpeakerTurn(5, 10, B)], [SpeakerTurn(0, 12, "x")])
    assert (found.speech, found.missed, found.false_alarm, found.confusion) == (15, 5, 2, 0)
    both = diarization.errors([SpeakerTurn(0, 10, A)], [SpeakerTurn(0, 10, "x"), SpeakerTurn(0, 4, "y")])
    assert (both.missed, both.false_alarm, both.confusion) == (0, 4, 0)


def test_speakers_are_mapped_for_the_most_overlap_of_all_not_of_the_first() -> None:
    """Anna overlaps x most, but Ben has no other: the greedy choice would get 5 s right, the best one 8."""
    reference = [SpeakerTurn(0, 9, A), SpeakerTurn(9, 13, B)]
    hypothesis = [SpeakerTurn(0, 5, "x"), SpeakerTurn(5, 9, "y"), SpeakerTurn(9, 13, "x")]
    found = diarization.errors(reference, hypothesis)
    assert found.mapping == {A: "y", B: "x"}
    assert found.confusion == 5


def test_a_speakers_own_turns_that_overlap_count_once_and_silence_is_no_rate() -> None:
    found = diarization.errors([SpeakerTurn(0, 6, A), SpeakerTurn(4, 10, A)], [SpeakerTurn(0, 10, "x")])
    assert (found.speech, found.errors) == (10, 0)
    assert np.isnan(diarization.errors([], [SpeakerTurn(0, 1, "x")]).rate)
    assert np.isnan(diarization.estimate([diarization.errors([], [])]).value)


@seed(5)
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_the_assignment_is_as_good_as_the_best_of_all(rows: int, columns: int, number: int) -> None:
    gain = np.random.default_rng(number).integers(0, 20, (rows, columns)).astype(float)
    pairs = diarization.assign(gain)
    assert len(pairs) == min(rows, columns) == len({r for r, _ in pairs}) == len({c for _, c in pairs})
    wide = gain if rows <= columns else gain.T
    best = max(
        sum(wide[r, c] for r, c in enumerate(chosen))
        for chosen in itertools.permutations(range(wide.shape[1]), len(wide))
    )
    assert sum(gain[r, c] for r, c in pairs) == pytest.approx(best)


def test_rates_of_several_recordings_are_pooled_and_paired() -> None:
    reference = [SpeakerTurn(0, 10, A)]
    good = [diarization.errors(reference, [SpeakerTurn(0, 10, "x")])] * 8
    bad = [diarization.errors(reference, [SpeakerTurn(0, 8, "x")])] * 8
    assert diarization.estimate(bad).value == pytest.approx(0.2)
    gap = diarization.change(good, bad)
    assert gap.value == pytest.approx(0.2) and gap.worse and gap.significant
    with pytest.raises(InputError, match="same references"):
        diarization.change(good, [diarization.errors([SpeakerTurn(0, 9, A)], [])] * 8)


def test_rttm_is_read_and_broken_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.rttm"
    path.write_text(
        ";; comment\nSPKR-INFO m 1 <NA> <NA> <NA> unknown anna <NA>\n"
        "SPEAKER m 1 0.50 1.25 <NA> <NA> anna <NA> <NA>\nSPEAKER n 1 0 2 <NA> <NA> ben <NA>\n"
    )
    assert diarization.read_rttm(path) == {"m": (SpeakerTurn(0.5, 1.75, "anna"),), "n": (SpeakerTurn(0, 2, "ben"),)}
    for line in ("SPEAKER m 1 0", "SPEAKER m 1 x 1 a b c", "SPEAKER m 1 0 nan a b c", "SPEAKER m 1 -1 1 a b c"):
        path.write_text(f"\n{line}\n")
        with pytest.raises(InputError, match=r"a\.rttm:2: "):
            diarization.read_rttm(path)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Accuracy of 80 clips at a true 0.7, two hundred times: 95 % of the intervals hold it, give or take."""
    generator = np.random.default_rng(0)
    inside = 0
    for number in range(200):
        right = (generator.random(80) < 0.7).astype(np.float64)
        low, high = bootstrap.interval_of_ratio(right, np.ones(80), draws=400, seed=number)
        inside += low <= 0.7 <= high
    assert 180 <= inside <= 199


def test_a_stratum_of_one_has_no_interval() -> None:
    low, _ = bootstrap.interval_in_strata(lambda weights: weights.sum(axis=1), np.array([0, 0, 1]))
    assert np.isnan(low)


def test_a_paired_change_sees_what_two_intervals_do_not() -> None:
    generator = np.random.default_rng(1)
    references = generator.integers(0, 2, 400)
    first = references ^ (generator.random(400) < 0.2)
    second = np.where(generator.random(400) < 0.06, 1 - references, first)
    gap = classification.change("accuracy", references, one_hot(list(first)), one_hot(list(second)))
    one, other = (classification.score(references, one_hot(list(p))).accuracy for p in (first, second))
    assert one.low < other.high, "the two intervals overlap"
    assert gap.value == pytest.approx(other.value - one.value)
    assert gap.worse and gap.high < 0


def test_verification_changes_are_paired_too() -> None:
    generator = np.random.default_rng(2)
    targets = np.arange(400) < 200
    scores = generator.normal(size=400) + 2 * targets
    gap = verification.change("eer", scores, scores + 0.01 * generator.normal(size=400), targets)
    assert abs(gap.value) < 0.02 and not gap.significant
    assert verification.change("min-dcf", scores, -scores, targets).worse


def test_concordance_by_hand() -> None:
    """Means differ by 1, variances and covariance are 2/3: 2 · 2/3 / (2/3 + 2/3 + 1) = 4/7."""
    truth = np.array([[1.0], [2.0], [3.0]])
    assert regression.score(truth, truth).value == pytest.approx(1)
    assert regression.score(truth, truth + 1).value == pytest.approx(4 / 7)
    assert regression.score(truth, -truth).value < 0
    both = np.hstack([truth, truth])
    assert regression.score(both, np.hstack([truth, truth + 1])).value == pytest.approx((1 + 4 / 7) / 2)
    gap = regression.change(truth.repeat(20, 0), truth.repeat(20, 0), truth.repeat(20, 0) + 1)
    assert gap.value == pytest.approx(4 / 7 - 1) and gap.worse
    for wrong in (truth[:2], np.full_like(truth, np.nan)):
        with pytest.raises(InputError):
            regression.score(truth, wrong)


def test_what_cannot_be_scored_is_refused() -> None:
    two = np.array([0, 1])
    for references, probabilities in (
        (two, np.ones((2, 2))),
        (two, np.array([[1.5, -0.5], [0.5, 0.5]])),
        (np.array([0, 2]), one_hot([0, 1])),
        (np.array([0]), one_hot([0, 1])),
        (np.array([], dtype=np.int64), np.zeros((0, 2))),
    ):
        with pytest.raises(InputError):
            classification.score(references, probabilities)
    for scores, targets in (
        (np.array([1.0, 2.0]), np.array([True, True])),
        (np.array([1.0, np.nan]), np.array([True, False])),
        (np.array([1.0]), np.array([True, False])),
    ):
        with pytest.raises(InputError):
            verification.score(scores, targets)


def test_figures_are_shown_with_their_unit_and_written_without_nan() -> None:
    eer = figures.Estimate(figures.FIGURES["eer"], 0.05, 0.041, 0.06, 9)
    cost = figures.Estimate(figures.FIGURES["min-dcf"], 0.2134, 0.19, 0.24, 9)
    assert (str(eer), str(cost)) == ("5.0 % [4.1, 6.0]", "0.213 [0.190, 0.240]")
    change = figures.Change(-0.005, -0.012, 0.001, figures.FIGURES["accuracy"])
    assert str(change) == "-0.50 points [-1.20, +0.10]" and not change.worse
    unknown = figures.Estimate(figures.FIGURES["der"], float("nan"), float("nan"), float("nan"), 0)
    assert json.dumps(unknown.to_json(), allow_nan=False) == '{"value": null, "low": null, "high": null, "items": 0}'
    assert str(unknown) == "no diarization error rate"
    assert all(name in figures.FIGURES for names in figures.OF_HEAD.values() for name in names)
