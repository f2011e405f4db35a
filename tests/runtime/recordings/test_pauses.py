"""Pauses are left out of what is run, and nothing of what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.measure import scoring
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.model import Model
from wav2edge.runtime.recordings.chunking import Chunking, Stitcher
from wav2edge.runtime.recordings.pauses import Pauses, spoken, survey, without_pauses
from wav2edge.runtime.recordings.transcriber import Transcriber

RATE = 16000


@pytest.fixture(scope="module")
def meeting(clips: list[tuple[Path, str]]) -> NDArray[np.float32]:
    """Clips whose words the embedded model knows, in a quiet room: 1 to 6 s between them, 3 s before and after."""
    draw = np.random.default_rng(3)
    parts = [np.zeros(3 * RATE, np.float32)]
    known = [path for path, _ in clips if path.stem.startswith("coffee")]
    for path in 3 * known:
        parts += [read.load(path), np.zeros(round(draw.uniform(1.0, 6.0) * RATE), np.float32)]
    said = np.concatenate([*parts, np.zeros(3 * RATE, np.float32)])
    return said + noise(draw, len(said) / RATE)


def noise(draw: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    """A quiet room."""
    return draw.normal(0, 10**-3.3, round(seconds * RATE)).astype(np.float32)


def test_no_word_is_lost_and_times_stay(meeting: NDArray[np.float32], clips: list[tuple[Path, str]]) -> None:
    pytest.importorskip("onnxruntime", reason="the embedded model runs on ONNX Runtime")
    with Model(Bundle.open(embedded.bundle_path()), "onnxruntime", "fp32") as model:
        run: list[int] = []
        whole = Transcriber(model, skip_silence=False)(meeting)
        parts = Transcriber(model, skip_silence=True)
        for chunk in parts.chunks(parts.open_recording(meeting)):
            run.append(len(chunk.samples))
        found = parts(meeting)
    assert sum(run) < 0.8 * len(meeting)
    assert found.seconds == whole.seconds
    # Windows begin elsewhere, which changes a letter now and then, as any other length of chunks does; the error rate
    # stays within two letters of 485, which are fewer than a word and its space.
    said = " ".join(3 * [text for path, text in clips if path.stem.startswith("coffee")])
    assert scoring.character_edits(said, found.text).errors <= scoring.character_edits(said, whole.text).errors + 2
    starts = np.array([word.start for word in whole.words])
    near = [np.abs(starts - word.start).min() <= 0.1 for word in found.words]
    assert np.mean(near) >= 0.95


def test_speech_as_loud_as_the_noise_is_kept(clips: list[tuple[Path, str]]) -> None:
    """Left out it would be missing from the text, and nothing would say so."""
    draw = np.random.default_rng(5)
    clip = read.load(clips[0][0])
    loud = float(np.std(clip))
    room = draw.normal(0, loud, 40 * RATE + len(clip) + 40 * RATE).astype(np.float32)
    room[40 * RATE : 40 * RATE + len(clip)] += clip
    spans = spoken(survey([room], 320).powers, 0.02, Pauses())
    inside = np.zeros(len(room) // 320, bool)
    for start, end in spans:
        inside[start:end] = True
    voiced = slice(40 * 50 + 10, 40 * 50 + len(clip) // 320 - 10)
    assert inside[voiced].all()


def test_a_hum_and_an_offset_do_not_hide_faint_speech(clips: list[tuple[Path, str]]) -> None:
    clip = 0.1 * read.load(clips[0][0])
    room = noise(np.random.default_rng(6), 60 + len(clip) / RATE)[: 60 * RATE + len(clip)]
    room[30 * RATE : 30 * RATE + len(clip)] += clip
    plain = spoken(survey([room], 320).powers, 0.02, Pauses())
    hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(len(room)) / RATE) + 0.2
    with_hum = spoken(survey([(room + hum).astype(np.float32)], 320).powers, 0.02, Pauses())
    for start, end in plain:
        if end - start > 50:
            assert any(begin <= start + 10 and stop >= end - 10 for begin, stop in with_hum)


@pytest.mark.parametrize("seed", range(40))
def test_every_frame_comes_once_and_in_its_place(seed: int, ctc_spec: ModelSpec) -> None:
    """A frame that is run carries the value of its own samples; all loud ones are run, the others are blank."""
    draw = np.random.default_rng(seed)
    loud = np.repeat(np.arange(12) % 2 == seed % 2, draw.integers(1, 400, 12))
    total = len(loud) * 320 + int(draw.integers(80, 400))
    numbers = np.repeat(np.arange(1, len(loud) + 3), 320)[:total] * 1e-4
    ripple = np.where(np.arange(total) % 2 == 0, 1, -1) * np.where(
        np.repeat([*loud, False, False], 320)[:total], 0.1, 0
    )
    recording = (numbers + ripple).astype(np.float32)
    cuts = np.unique(draw.integers(1, total, 20))
    blocks = np.split(recording, cuts)
    stitcher = Stitcher(0)
    settled = []
    for chunk in without_pauses(blocks, survey(blocks, 320), ctc_spec, Chunking(4.0, 0.4), Pauses()):
        count = ctc_spec.frames(len(chunk.samples))
        values = np.rint(chunk.samples[: count * 320].reshape(count, 320).mean(axis=1) * 1e4)
        logits = np.stack((np.zeros(count), values), axis=1).astype(np.float32)
        settled.append(stitcher.push(chunk, chunk.with_pauses(logits, 0)))
    rows = np.concatenate(settled)
    run = rows[:, 0] == 0
    assert chunk.next_frame is None
    assert chunk.covered == total - chunk.first_frame * 320
    assert len(rows) == ctc_spec.frames(total) == len(loud)
    assert np.array_equal(rows[run, 1], np.flatnonzero(run) + 1)
    assert run[loud].all()
    assert run.sum() < len(loud)
