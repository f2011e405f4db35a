"""Segments end at pauses, and do not depend on the portions in which frames come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.recordings.segmentation import Segmentation, Segmenter
from wav2edge.runtime.recordings.transcriber import Transcriber


def frames_of(letters: str, spec: ModelSpec) -> np.ndarray:
    """One frame a letter; ``_`` is blank."""
    indices = [0 if letter == "_" else spec.labels.index(letter) for letter in letters]
    return np.eye(len(spec.labels), dtype=np.float32)[indices]


def spans_of(rows: np.ndarray, cuts: list[int], spec: ModelSpec, settings: Segmentation) -> list[tuple[int, int]]:
    segmenter = Segmenter(spec, settings)
    found = []
    for portion in np.split(rows, sorted(cut for cut in cuts if cut < len(rows))):
        found += segmenter.push(portion)
    found += segmenter.finish()
    for span in found:
        np.testing.assert_array_equal(span.logits, rows[span.first_frame : span.first_frame + len(span.logits)])
    return [(span.first_frame, span.first_frame + len(span.logits)) for span in found]


def test_a_pause_ends_a_segment_and_silence_is_dropped(ctc_spec: ModelSpec) -> None:
    rows = frames_of("_" * 50 + "a_b" + "_____|____" + "c" + "|" * 12 + "_" * 100 + "d__", ctc_spec)
    assert spans_of(rows, [], ctc_spec, Segmentation(pause=0.2)) == [(45, 58), (58, 69), (171, 179)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("_ab|"), st.integers(1, 40)), min_size=1, max_size=25),
    st.lists(st.integers(1, 900), max_size=8),
)
def test_portions_do_not_matter_and_no_speech_is_lost(
    ctc_spec: ModelSpec, runs: list[tuple[str, int]], cuts: list[int]
) -> None:
    rows = frames_of("".join(letter * count for letter, count in runs), ctc_spec)
    limits = Segmentation(pause=0.3, longest=2.0)
    whole = spans_of(rows, [], ctc_spec, limits)
    assert spans_of(rows, cuts, ctc_spec, limits) == whole
    covered = np.zeros(len(rows), bool)
    for start, end in whole:
        assert 0 < end - start <= 100 + 15
        assert not covered[start:end].any()
        covered[start:end] = True
    spoken = np.isin(rows.argmax(axis=1), [ctc_spec.labels.index("a"), ctc_spec.labels.index("b")])
    assert covered[spoken].all()


def test_a_pause_inside_a_word_does_not_part_it(ctc_spec: ModelSpec) -> None:
    rows = frames_of("a" + "_" * 30 + "b" + "_" * 29 + "|" + "c" + "_" * 40, ctc_spec)
    assert spans_of(rows, [], ctc_spec, Segmentation(pause=0.2, word_gap=2.0)) == [(0, 37), (57, 103)]
    assert spans_of(rows, [33, 62], ctc_spec, Segmentation(pause=0.2, word_gap=2.0)) == [(0, 37), (57, 103)]


def test_speech_without_pause_is_cut_at_its_longest_gap(ctc_spec: ModelSpec) -> None:
    rows = frames_of("ab_" * 20 + "____" + "ab_" * 40, ctc_spec)
    first, *_ = spans_of(rows, [], ctc_spec, Segmentation(pause=0.5, longest=2.0))
    assert first[0] == 0 and 59 < first[1] < 64
    rows = frames_of("ab_" * 20 + "____" + "ab_" * 5 + "|" + "ab_" * 40, ctc_spec)
    first, *_ = spans_of(rows, [], ctc_spec, Segmentation(pause=0.5, longest=2.0))
    assert 77 < first[1] < 82, "between two words, if it can be"
    rows = frames_of("ab_" * 25 + "_" * 200, ctc_spec)
    first, *_ = spans_of(rows, [], ctc_spec, Segmentation(pause=0.3, longest=2.0))
    assert 75 < first[1] <= 100, "in the silence that follows"


@pytest.mark.parametrize("word", ["gi", "g___i", "ggii", "g__i_i"])
def test_speech_of_pieces_is_cut_before_a_piece_that_opens_a_word(ctc_spec: ModelSpec, word: str) -> None:
    """Every blank counted as the end of a word, so a cut at 30 s made two of one: "go ing"."""
    pieces = replace(ctc_spec, labels=("<pad>", "▁go", "ing"), delimiter=None, tokenizer="piece")
    frames = [{"_": 0, "g": 1, "i": 2}[letter] for letter in (word + "_") * 100]
    rows = np.eye(3, dtype=np.float32)[frames]
    segmenter = Segmenter(pieces, Segmentation(pause=0.5, longest=2.0))
    spans = [*segmenter.push(rows[:77]), *segmenter.push(rows[77:]), *segmenter.finish()]
    assert len(spans) > 2
    found = [word.text for span in spans for word in ctc.greedy(span.logits, pieces, span.first_frame)]
    assert found == [word.text for word in ctc.greedy(rows, pieces)]


def test_pieces_that_follow_each_other_without_a_blank_are_parted_before_an_opening_one(ctc_spec: ModelSpec) -> None:
    pieces = replace(ctc_spec, labels=("<pad>", "▁go", "ing"), delimiter=None, tokenizer="piece")
    rows = np.eye(3, dtype=np.float32)[[1, 1, 1, 2, 2, 2] * 50]
    segmenter = Segmenter(pieces, Segmentation(pause=0.5, longest=2.0))
    spans = [*segmenter.push(rows), *segmenter.finish()]
    assert [span.first_frame % 6 for span in spans] == [0] * len(spans)


def test_a_label_without_a_blank_around_it_is_not_cut(ctc_spec: ModelSpec) -> None:
    """Its frames on both sides of the cut were two letters."""
    rows = frames_of("aaaabbbb" * 50, ctc_spec)
    found = spans_of(rows, [], ctc_spec, Segmentation(pause=0.5, longest=2.0))
    assert len(found) > 2 and all(start % 4 == 0 for start, _ in found)


def test_segments_of_a_transcript(level_transcriber: Transcriber, spell: Callable[[str], np.ndarray]) -> None:
    gap = "_" * 60
    found = level_transcriber(spell(f"one two {gap}three{gap}"))
    assert [segment.text for segment in found.segments] == ["one two", "three"]
    assert found.text == "one two three"
    assert [word.text for word in found.words] == ["one", "two", "three"]
    assert found.words[0].start == 0.0 and found.words[0].end == pytest.approx(0.16)
    times = [time for word in found.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= found.seconds


def test_limits_that_make_no_segments() -> None:
    """Infinite ones were an OverflowError at the first recording."""
    for pause, longest in ((0.0, 30.0), (1.0, 1.5), (0.6, float("inf"))):
        with pytest.raises(InputError, match="pause"):
            Segmentation(pause, longest)
    with pytest.raises(InputError, match="word gap inf s"):
        Segmentation(word_gap=float("inf"))


def test_a_pause_too_long_for_a_word_ends_a_segment(ctc_spec: ModelSpec) -> None:
    """Letters on both sides of seconds of silence were one segment, because no delimiter was between them."""
    rows = frames_of("ab" + "_" * 30 + "cd" + "_" * 25 + "e", ctc_spec)
    assert spans_of(rows, [], ctc_spec, Segmentation(pause=0.4)) == [(0, 12), (22, 60)]
    assert spans_of(rows, [], ctc_spec, Segmentation(pause=0.4, word_gap=1.0)) == [(0, 60)]
    with pytest.raises(InputError, match="word gap"):
        Segmentation(word_gap=0.0)
