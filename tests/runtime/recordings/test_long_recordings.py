"""Long recordings of real speech with the embedded model: the text of one pass, word times, flat memory."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.devices.open import open_model
from wav2edge.runtime.audio import read
from wav2edge.runtime.audio.loudness import measure
from wav2edge.runtime.bundle.embedded import clips_manifest
from wav2edge.runtime.bundle.spec import FEATURES, INPUT_LENGTHS, NORMALIZED
from wav2edge.runtime.heads import ctc
from wav2edge.runtime.recordings.chunking import Chunking, Stitcher, chunks
from wav2edge.runtime.recordings.transcriber import Transcriber
from wav2edge.runtime.text import formats

BUNDLE = clips_manifest().parent.parent / "bundle"
pytestmark = pytest.mark.skipif(not BUNDLE.is_dir(), reason="this checkout has no embedded bundle")


@pytest.fixture(scope="module")
def embedded_transcriber() -> Iterator[Transcriber]:
    with Transcriber(open_model(BUNDLE, "onnxruntime", "fp32")) as transcriber:
        yield transcriber


@pytest.fixture(scope="module")
def minute(clips: list[tuple[Path, str]]) -> np.ndarray:
    """About a minute of whole utterances."""
    gap = np.zeros(4800, np.float32)
    return np.concatenate([part for path, _ in clips * 2 for part in (read.load(path), gap)])


def test_word_times_are_those_of_a_forced_alignment(
    embedded_transcriber: Transcriber, clips: list[tuple[Path, str]]
) -> None:
    spec, apart = embedded_transcriber.spec, []
    assert spec.blank is not None
    for path, _ in clips:
        (logits,) = embedded_transcriber.logits([read.load(path)])
        labels = [token.label for token in ctc.tokens(logits, spec.blank)]
        forced = ctc.words(ctc.align(logits, labels, spec.blank), spec)
        words = embedded_transcriber(path).words
        assert [word.text for word in words] == [word.text for word in forced]
        apart += [abs(a - b) for x, y in zip(words, forced) for a, b in ((x.start, y.start), (x.end, y.end))]
    assert len(apart) > 20
    assert statistics.median(apart) <= 0.06


def frames_of(transcriber: Transcriber, samples: np.ndarray, chunking: Chunking) -> tuple[np.ndarray, np.ndarray]:
    """A recording's stitched frames: of the model, and of one whose context is 0.2 s.

    The second is the model's own convolutions, averaged over ten frames to each side and projected to labels at random.
    """
    spec, loudness = transcriber.spec, measure([samples])
    assert spec.blank is not None
    own, local = Stitcher(spec.blank), Stitcher(spec.blank)
    settled: list[tuple[np.ndarray, np.ndarray]] = []
    for cut in chunks([samples], spec, chunking):
        (logits,) = transcriber.run([replace(cut, loudness=loudness)])
        values, lengths = loudness.normalized(cut.samples)[None], np.array([len(cut.samples)])
        (features,) = transcriber.model.run("frontend", {NORMALIZED: values, INPUT_LENGTHS: lengths})[FEATURES]
        matrix = np.random.default_rng(0).normal(size=(features.shape[1], len(spec.labels)))
        padded = np.pad(features.astype(np.float64) @ matrix, ((11, 10), (0, 0))).cumsum(axis=0)
        settled.append((own.push(cut, logits), local.push(cut, (padded[21:] - padded[:-21]).astype(np.float32))))
    return np.concatenate([pair[0] for pair in settled]), np.concatenate([pair[1] for pair in settled])


@pytest.mark.slow
def test_what_windows_change_is_the_models_own_reach_and_not_the_stitching(
    embedded_transcriber: Transcriber, minute: np.ndarray
) -> None:
    """One pass and windows: a model with little context gives the same labels, the embedded one does where it is sure.

    Where it is undecided its labels depend on distant sound (benchmarks/chunking.py prints by how much).
    """
    whole, whole_local = frames_of(embedded_transcriber, minute, Chunking(length=600.0))
    parts, parts_local = frames_of(embedded_transcriber, minute, Chunking(length=15.0, context=1.0))
    assert len(whole) == len(parts) == embedded_transcriber.spec.frames(len(minute)) > 2000
    assert len(np.unique(whole_local.argmax(axis=1))) > 3
    assert np.array_equal(whole_local.argmax(axis=1), parts_local.argmax(axis=1))
    ranked = [np.sort(logits, axis=1) for logits in (whole, parts)]
    sure = np.logical_and(*(best[:, -1] - best[:, -2] >= 2.0 for best in ranked))
    assert sure.mean() > 0.4
    assert (whole.argmax(axis=1) == parts.argmax(axis=1))[sure].mean() > 0.98


def test_times_are_monotonic_and_inside_the_recording(embedded_transcriber: Transcriber, minute: np.ndarray) -> None:
    chunked = embedded_transcriber(minute)
    assert len(chunked.words) > 30
    times = [time for word in chunked.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= chunked.seconds


@pytest.mark.slow
def test_memory_is_flat_in_the_length(minute: np.ndarray, tmp_path: Path) -> None:
    """The process reads its own peak: what the kernel tells its parent includes the parent's size before exec.

    Peaks of one recording differ by up to 40 MB between runs, as the pool of the C library falls out: the longer one
    must be long enough that half of its samples are more than that.
    """
    script = (
        "import re, sys; from wav2edge.cli import main; code = main(sys.argv[1:]); "
        "print('PEAK', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr); "
        "sys.exit(code)"
    )
    peaks = []
    for minutes in (10, 40):
        path = tmp_path / f"{minutes}.flac"
        soundfile.write(path, np.tile(minute, minutes), 16000)
        command = [sys.executable, "-c", script, "transcribe", str(path), "-m", str(BUNDLE), "-f", "json"]
        done = subprocess.run([*command, "--engine", "onnxruntime"], capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["duration"] > 60 * (minutes - 1)
        peaks.append(int(done.stderr.split("PEAK ")[1]) / 1024)
    assert peaks[1] < 600
    samples = 30 * 60 * 16000 * 4 / 2**20
    assert peaks[1] - peaks[0] < samples / 2


def test_words_do_not_span_the_silence_between_sentences(
    embedded_transcriber: Transcriber, clips: list[tuple[Path, str]]
) -> None:
    """3 s of silence were inside one word, one segment and one subtitle: the model writes no delimiter into silence."""
    gap = np.zeros(48000, np.float32)
    samples = [read.load(path) for path, _ in clips[:3]]
    transcript = embedded_transcriber(np.concatenate([part for clip in samples for part in (clip, gap)]))
    assert len(transcript.segments) >= 3
    assert max(word.end - word.start for word in transcript.words) < 2
    begun = [0.0, *np.cumsum([len(clip) / 16000 + 3 for clip in samples])]
    for start, following in itertools.pairwise(begun):
        assert not any(word.start < following - 3 < following - 0.2 < word.end for word in transcript.words)
        assert any(start <= segment.start and segment.end < following for segment in transcript.segments)
    cues = formats.get("srt").render(transcript, "x", formats.CaptionLayout())
    assert cues.count(" --> ") >= 3


def test_the_bound_on_pauses_leaves_the_clips_as_they_were(
    embedded_transcriber: Transcriber, clips: list[tuple[Path, str]]
) -> None:
    for path, _ in clips:
        (logits,) = embedded_transcriber.logits([read.load(path)])
        assert ctc.greedy(logits, embedded_transcriber.spec) == ctc.Greedy(word_gap=60.0)(
            logits, embedded_transcriber.spec
        )
