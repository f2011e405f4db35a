"""Windows cover a recording as they promise, and their logits join into the whole recording's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.chunking import Chunk, Chunking, Stitcher, chunks, seam
from wav2edge.runtime.recordings.transcriber import Transcriber

SHORT = Chunking(length=2.0, context=0.3)


def blocks_of(samples: int, portions: list[int]) -> list[np.ndarray]:
    whole = np.arange(samples, dtype=np.float32)
    cuts = np.cumsum(portions)
    return [block for block in np.split(whole, cuts[cuts < samples]) if len(block)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 200_000), st.lists(st.integers(1, 50_000), max_size=6))
def test_windows_cover_every_frame_with_context(ctc_spec: ModelSpec, samples: int, portions: list[int]) -> None:
    found = list(chunks(blocks_of(samples, portions), ctc_spec, SHORT))
    again = list(chunks(blocks_of(samples, []), ctc_spec, SHORT))
    assert [(w.first_frame, w.next_frame, len(w.samples)) for w in found] == [
        (w.first_frame, w.next_frame, len(w.samples)) for w in again
    ], "the cuts do not depend on the blocks"
    assert found[0].first_frame == 0 and found[-1].next_frame is None
    longest = 2 * 16000
    for window in found:
        assert len(window.samples) <= longest
        if len(window.samples):
            assert window.samples[0] == window.first_frame * 320, "a frame has one place in the recording"
    for window, following in pairwise(found):
        assert window.next_frame == following.first_frame
        end = window.first_frame * 320 + len(window.samples)
        assert end - following.first_frame * 320 == pytest.approx(2 * 0.3 * 16000, abs=320)
    if samples:
        assert found[-1].samples[-1] == samples - 1
    if samples > longest:
        assert min(len(window.samples) for window in found) > longest / 2, "no window is short of context"
    else:
        assert len(found) == 1


@pytest.mark.parametrize("samples", [24_320, 33_920, 40_640, 48_960, 56_320])
def test_frames_come_once_where_half_of_each_chunk_is_context(ctc_spec: ModelSpec, samples: int) -> None:
    """The next chunk may begin before the seam with the one before; the frames between came twice."""
    stitcher = Stitcher(blank=0)
    spoken = np.random.default_rng(samples).random(ctc_spec.frames(samples)) < 0.7
    logits = np.stack([~spoken, spoken, np.arange(len(spoken)) - 1e6], axis=1).astype(np.float32)
    joined = []
    for chunk in chunks(blocks_of(samples, []), ctc_spec, Chunking(length=1.0, context=0.25)):
        own = logits[chunk.first_frame : chunk.first_frame + ctc_spec.frames(len(chunk.samples))]
        joined.append(stitcher.push(chunk, own))
    np.testing.assert_array_equal(np.concatenate(joined), logits)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(400, 150_000))
def test_stitched_frames_are_the_recordings_frames(ctc_spec: ModelSpec, samples: int) -> None:
    """Each frame comes through once and in order, whatever the seams."""
    stitcher = Stitcher(blank=0)
    joined = []
    for window in chunks(blocks_of(samples, [9000] * 20), ctc_spec, SHORT):
        frames = ctc_spec.frames(len(window.samples))
        logits = np.zeros((frames, 2), np.float32)
        logits[:, 0] = window.samples[: frames * 320 : 320] / 320
        joined.append(stitcher.push(window, logits)[:, 0])
    np.testing.assert_array_equal(np.concatenate(joined), np.arange(ctc_spec.frames(samples)))


def test_the_seam_is_in_the_longest_run_that_both_call_blank() -> None:
    before, after = np.zeros((40, 2), np.float32), np.zeros((40, 2), np.float32)
    before[:, 1] = after[:, 1] = 1.0  # label 1 everywhere
    before[12:20] = after[12:20] = (1, 0)
    before[23:26] = after[23:26] = (1, 0)
    after[14] = (0, 1)
    assert seam(before, after, 0) == 17
    before[:], after[:] = (0, 1), (0, 1)
    assert seam(before, after, 0) == 20, "without a blank in common, the middle"


def test_a_window_must_leave_something_between_its_contexts() -> None:
    for window, context in ((30.0, 0.0), (4.0, 2.0), (-1.0, 1.0)):
        with pytest.raises(InputError, match="context"):
            Chunking(window, context)


def test_what_a_model_gets_wrong_at_the_ends_of_windows_stays_out_of_the_text(
    shapes_bundle: Bundle, ctc_spec: ModelSpec, level_session_class: Any, spell: Callable[[str], np.ndarray]
) -> None:
    text = " ".join(f"word{'abcdefghij'[i % 10]}{'klmno'[i % 5]}" for i in range(120)).replace("x", "y")
    samples = spell("_" * 20 + text + "_" * 20)
    session = level_session_class(ctc_spec, blind=12)
    model = Model(shapes_bundle, "level", "fp32", sessions={"full": session})
    transcriber = Transcriber(model, chunking=Chunking(4.0, 0.6))
    transcribed = transcriber(samples).text
    assert len(session.lengths) > 10
    assert transcribed.strip("x ") == text
    narrow = Transcriber(model, chunking=Chunking(4.0, 0.1))
    assert narrow(samples).text.strip("x ") != text, "the test would notice"


def test_one_window_when_it_fits(ctc_spec: ModelSpec) -> None:
    (window,) = chunks([np.zeros(16000 * 30, np.float32)], ctc_spec, Chunking())
    assert isinstance(window, Chunk) and window.next_frame is None and len(window.samples) == 480000


@pytest.mark.parametrize(("trained", "length"), [(None, 30.0), (18.0, 18.0), (3.0, 8.0), (60.0, 30.0)])
def test_chunks_are_no_longer_than_the_clips_of_the_training(
    trained: float | None, length: float, shapes_bundle: Bundle, ctc_spec: ModelSpec, level_session_class: Any
) -> None:
    spec = replace(ctc_spec, trained_seconds=trained)
    assert Chunking.suited(spec) == Chunking(length, 2.0)
    session = level_session_class(spec)
    bundle = replace(shapes_bundle, spec=spec)
    Transcriber(Model(bundle, "level", "fp32", sessions={"full": session}))(np.full(70 * 16000, 0.01, np.float32))
    assert 0.75 * length * 16000 < max(session.lengths) <= length * 16000
