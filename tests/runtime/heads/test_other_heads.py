"""Heads that do not transcribe: from outputs to labels, numbers, turns and comparisons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import frame_classification, regression, sequence_classification, xvector


def spec_of(ctc_spec: ModelSpec, head: str, labels: tuple[str, ...], options: Any) -> ModelSpec:
    return replace(ctc_spec, head=head, labels=labels, head_options=options, blank=None, delimiter=None)


def logits(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_one_label_holds_and_scores_add_up_to_one(ctc_spec: ModelSpec) -> None:
    spec = spec_of(ctc_spec, "sequence_classification", ("a", "b", "c"), sequence_classification.Options())
    found = sequence_classification.classify(logits(0.0, np.log(3.0), 0.0), spec, 2.5)
    assert found.label == "b" and found.seconds == 2.5
    assert [(score.label, score.score) for score in found.scores] == [("b", 0.6), ("a", 0.2), ("c", 0.2)]
    assert sequence_classification.scores(logits(1e4, -1e4, 0), spec).tolist() == [1, 0, 0]


def test_several_labels_may_hold(ctc_spec: ModelSpec) -> None:
    options = sequence_classification.Options(multi_label=True)
    spec = spec_of(ctc_spec, "sequence_classification", ("a", "b", "c"), options)
    found = sequence_classification.classify(logits(2.0, -2.0, 0.0), spec, 1.0)
    assert found.label == "a, c"
    assert sequence_classification.scores(logits(1e4, -1e4, 0), spec).tolist() == [1, 0, 0.5]


def test_groups_of_labels_have_one_each(ctc_spec: ModelSpec) -> None:
    """SUPERB's intent classification: an action, an object and a location."""
    options = sequence_classification.Options(groups=(2, 3))
    spec = spec_of(ctc_spec, "sequence_classification", ("on", "off", "lamp", "heat", "none"), options)
    values = logits(0, 1, 0, 0, np.log(2))
    assert sequence_classification.scores(values, spec)[2:] == pytest.approx([0.25, 0.25, 0.5])
    assert sequence_classification.classify(values, spec, 1.0).label == "off, none"


def test_numbers_keep_their_labels(ctc_spec: ModelSpec) -> None:
    spec = spec_of(ctc_spec, "regression", ("arousal", "valence"), regression.Options())
    found = regression.regress(logits(0.25, 0.75), spec, 1.0)
    assert [(value.label, value.value) for value in found.values] == [("arousal", 0.25), ("valence", 0.75)]


def test_speakers_are_compared_by_cosine() -> None:
    first, second = logits(3, 4), logits(4, 3)
    assert xvector.cosine(first, second) == pytest.approx(24 / 25)
    assert xvector.verify(first, second, 0.95).same and not xvector.verify(first, second, 0.97).same
    assert xvector.verify(first, -first, None) == xvector.Verification(False, -1.0, xvector.DEFAULT_THRESHOLD)
    assert xvector.cosine(first, logits(0, 0)) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "threshold", "why"),
    [
        ([1.0, 0.0], [1.0, 0.0], float("nan"), "NaN or infinite"),
        ([1.0, 0.0], [np.nan, 0.0], None, "NaN or infinite"),
        ([1.0, 0.0], [1.0], None, r"shapes \[2\] and \[1\]"),
        ([[1.0, 0.0]], [[1.0, 0.0]], None, r"both must be \[size\]"),
    ],
)
def test_embeddings_that_cannot_be_compared_are_refused(
    first: list[Any], second: list[Any], threshold: float | None, why: str
) -> None:
    """They were different speakers."""
    with pytest.raises(InputError, match=why):
        xvector.verify(np.array(first), np.array(second), threshold)


def test_a_pooled_embedding_weighs_chunks_by_length_and_not_by_loudness() -> None:
    rows = np.stack([logits(10, 0), logits(0, 0.1)])
    assert xvector.pooled(rows, np.array([1.0, 1.0])) == pytest.approx([2**-0.5, 2**-0.5])
    assert xvector.pooled(rows, np.array([1.0, 0.0])) == pytest.approx([1, 0])


def columns(*rows: str) -> np.ndarray:
    """Probabilities [frames, labels] of a picture: 9 is 0.9."""
    picture: np.ndarray = np.array([[int(digit) / 10 for digit in row] for row in rows], dtype=np.float32).T
    return picture


def test_turns_begin_high_and_end_low(ctc_spec: ModelSpec) -> None:
    spec = spec_of(ctc_spec, "frame_classification", ("one", "two"), frame_classification.Options(0.6, 0.4))
    found = frame_classification.turns(columns("0475530000", "0000000999"), spec)
    assert [(turn.label, turn.start, turn.end) for turn in found] == [("one", 0.04, 0.1), ("two", 0.14, 0.2)]
    assert found[0].score == pytest.approx((0.7 + 0.5 + 0.5) / 3, abs=1e-4)


def test_short_pauses_close_and_short_turns_go(ctc_spec: ModelSpec) -> None:
    options = frame_classification.Options(shortest_turn=0.05, shortest_pause=0.05)
    spec = spec_of(ctc_spec, "frame_classification", ("one",), options)
    found = frame_classification.turns(columns("9909900000900099990"), spec)
    assert [(turn.start, turn.end) for turn in found] == [(0.0, 0.1), (0.28, 0.36)]


def test_speakers_keep_their_numbers_from_chunk_to_chunk() -> None:
    before = columns("9990", "0099", "0000")
    after = columns("0000", "9990", "0099")[:, :]
    assert np.array_equal(frame_classification.aligned(before, after), columns("9990", "0099", "0000"))
