"""Captions and sound on disk: complete after a kill, never over another file."""

from __future__ import annotations

import json
import os
import resource
import signal
import wave
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import srt
import webvtt

from wav2edge.runtime.errors import InputError
from wav2edge.runtime.live import events
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.saving import CaptionFile, SoundRecorder
from wav2edge.runtime.live.sources import on_grid
from wav2edge.runtime.text.transcript import Word


def word(text: str, start: float, end: float | None = None) -> Word:
    return Word(text, start, start + 0.2 if end is None else end, 0.9)


def final(number: int, text: str, start: float) -> events.Final:
    words = tuple(word(part, start + 0.3 * i) for i, part in enumerate(text.split()))
    return events.Final(number, start, start + 5, text, words, 0, "silence")


def test_captions_are_on_the_disk_line_by_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"x{suffix}" for suffix in (".srt", ".vtt", ".jsonl")]
    keepers = [CaptionFile(path) for path in paths]
    said = ["first < words & more", "then a very long line that cannot be shown at once " * 3, "", "and the last"]
    for number, text in enumerate(said):
        for keep in keepers:
            keep(events.Partial(number, 0.0, 1.0, "not", "kept"))
            keep(final(number, text.strip(), 100.0 * number))
    # Not closed: what a power cut would leave.
    cues = list(srt.parse(paths[0].read_text("utf-8"), ignore_errors=False))
    captions = webvtt.read(str(paths[1])).captions
    lines = [json.loads(line) for line in paths[2].read_text("utf-8").splitlines()]
    spoken = " ".join(text.strip() for text in said if text).split()
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    assert " ".join(cue.content for cue in cues).split() == spoken
    assert " ".join(caption.text for caption in captions).replace("&lt;", "<").replace("&amp;", "&").split() == spoken
    assert [line["text"].split() for line in lines] == [text.split() for text in said if text]
    assert all(before.end <= after.start for before, after in pairwise(cues))
    for keep in keepers:
        keep.close()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.srt").write_text("yesterday")
    (tmp_path / "x.flac").write_text("yesterday")
    with pytest.raises(InputError, match="exists"):
        CaptionFile(tmp_path / "x.srt")
    with pytest.raises(InputError, match="exists"):
        SoundRecorder(tmp_path / "x.flac")
    with pytest.raises(InputError, match=r"\.srt"):
        CaptionFile(tmp_path / "x.doc")
    with pytest.raises(InputError, match=r"\.flac"):
        SoundRecorder(tmp_path / "x.mp3")
    assert (tmp_path / "x.srt").read_text() == "yesterday"


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_a_killed_recording_can_be_read(tmp_path: Path, suffix: str) -> None:
    """A FLAC file that libsndfile did not close says it is 2^36 samples long, and soundfile cannot read it."""
    path = tmp_path / f"x{suffix}"
    sound = on_grid(np.random.default_rng(2).uniform(-0.5, 0.5, 7 * 16000).astype(np.float32))
    child = os.fork()
    if child == 0:
        recording = SoundRecorder(path)
        for at in range(0, len(sound), 800):
            recording(Block(at, sound[at : at + 800]))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    kept, _ = soundfile.read(path, dtype="float32")
    assert len(kept) >= 5.5 * 16000
    np.testing.assert_array_equal(kept, sound[: len(kept)])


def test_a_killed_wav_says_how_long_it_is(tmp_path: Path) -> None:
    """Readers that trust the header (Python's own among them) found an empty file."""
    recording = SoundRecorder(tmp_path / "x.wav")
    recording(Block(0, np.full(3 * 16000, 0.5, np.float32)))
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getnframes() == 3 * 16000
    recording.close()
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getnframes() == 3 * 16000


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_a_full_disk_is_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    sound = on_grid(np.random.default_rng(2).uniform(-0.5, 0.5, 16000).astype(np.float32))
    recording = SoundRecorder(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(InputError, match="is the disk full"):
            for second in range(60):
                recording(Block(second * 16000, sound))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.stat().st_size > 100_000


@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".jsonl"])
def test_a_full_disk_ends_captions_in_one_line(tmp_path: Path, suffix: str) -> None:
    """It was a traceback; what was written before it stays."""
    keeper = CaptionFile(tmp_path / f"x{suffix}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(InputError, match=r"captions cannot be written .* is the disk full"):
            for number in range(100):
                keeper(final(number, "some words of a caption", 10.0 * number))
        keeper.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "some words of a caption" in (tmp_path / f"x{suffix}").read_text("utf-8")


@pytest.mark.parametrize("make", [CaptionFile, SoundRecorder])
def test_a_file_that_cannot_be_created_is_one_line(
    tmp_path: Path, make: Callable[[Path], CaptionFile | SoundRecorder]
) -> None:
    suffix = ".srt" if make is CaptionFile else ".wav"
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / "nowhere")
    for name, message in (
        (f"{'x' * 300}{suffix}", "cannot be created"),
        (f"none/x{suffix}", "no such folder"),
        (f"link{suffix}", "exists already"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            make(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_a_recording_keeps_step_with_the_events(tmp_path: Path) -> None:
    recording = SoundRecorder(tmp_path / "x.flac")
    sound = on_grid(np.random.default_rng(3).uniform(-0.5, 0.5, 1600).astype(np.float32))
    recording(Block(0, sound))
    recording(Block(40_000, sound))
    recording(Block(40_800, sound))  # half of it was there already
    recording.close()
    kept, rate = soundfile.read(tmp_path / "x.flac", dtype="float32")
    assert rate == 16000
    np.testing.assert_array_equal(kept[:1600], sound)
    assert not kept[1600:40_000].any()
    np.testing.assert_array_equal(kept[40_000:], np.concatenate((sound, sound[800:])))


def test_a_short_word_is_shown_as_long_as_a_recordings(tmp_path: Path) -> None:
    """Words of 0.3 s flashed for 0.3 s in saved captions, and stayed a second in those of a recording."""
    keep = CaptionFile(tmp_path / "x.srt")
    for number in range(2):
        keep(final(number, "yes", 5.0 * number))
    first, second = srt.parse((tmp_path / "x.srt").read_text("utf-8"))
    assert [(cue.end - cue.start).total_seconds() for cue in (first, second)] == [1.0, 1.0]
    keep.close()
