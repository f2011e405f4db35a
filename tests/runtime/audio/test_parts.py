"""Parts of recordings: the samples of the whole between two seconds, whatever the container."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wav2edge.runtime.audio import files, media
from wav2edge.runtime.audio.read import RecordingPart, load, open_channels, open_recording
from wav2edge.runtime.errors import AudioError

RATE = 16000
SECONDS = 17.3

FORMS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "gsm.wav": ("WAV", "GSM610"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def write(path: Path, form: tuple[str, str], seconds: float = SECONDS) -> Path:
    """Noise that changes all the time."""
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE))
    soundfile.write(path, np.convolve(noise, np.ones(8) / 4, "same"), RATE, form[1], format=form[0])
    return path


def expected(path: Path, start: float, end: float) -> NDArray[np.float32]:
    return load(path)[round(start * RATE) : round(end * RATE)]


@pytest.mark.parametrize("name", FORMS)
def test_a_part_has_the_samples_of_the_whole(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / f"a.{name}", FORMS[name])
    for offset, seconds in ((0.0, 2.5), (4.0, 3.0), (5.0, 5.0), (7.0001, 9.5), (12.0, 1e-3)):
        found = load(RecordingPart(path, offset, seconds))
        assert np.array_equal(found, expected(path, offset, offset + seconds))
    assert np.array_equal(load(RecordingPart(path, 16.5)), expected(path, 16.5, 99))
    assert np.array_equal(load(RecordingPart(path)), load(path))


def test_a_part_of_what_pyav_decodes(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert media.available()
    path = tmp_path / "a.m4a"
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 8 * RATE)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate = RATE
        for given in (frame, None):
            container.mux(stream.encode(given))
    assert np.array_equal(load(RecordingPart(path, 1.25, 3.5)), expected(path, 1.25, 4.75))


def test_only_the_part_is_decoded_where_the_decoder_can_go_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    block = files._block

    def counted(file: files.SoundFile) -> tuple[NDArray[np.float32], bool]:
        found = block(file)
        decoded.append(len(found[0]))
        return found

    monkeypatch.setattr(files, "_block", counted)
    for name in ("wav", "flac"):
        path = write(tmp_path / f"a.{name}", FORMS[name], 120.0)
        decoded.clear()
        load(RecordingPart(path, 100.0, 2.0))
        assert sum(decoded) <= files.BLOCK_SECONDS * RATE


def test_the_length_of_a_whole_recording_may_be_rounded(tmp_path: Path) -> None:
    """Without an offset: of a much longer recording it is the beginning, and a much shorter one was cut short."""
    path = write(tmp_path / "a.wav", FORMS["wav"])
    for seconds in (16.4, 17.0, 17.3, 18.0):
        recording = open_recording(RecordingPart(path, None, seconds))
        assert recording.seconds == SECONDS
        assert sum(map(len, recording.blocks)) == SECONDS * RATE and recording.complete
    recording = open_recording(RecordingPart(path, None, 16.2))
    assert recording.seconds == 16.2 and sum(map(len, recording.blocks)) == 16.2 * RATE and recording.complete
    recording = open_recording(RecordingPart(path, None, 20.0))
    assert sum(map(len, recording.blocks)) == SECONDS * RATE and not recording.complete
    assert recording.warnings == (
        "it ends after 17.3 s and should have 20 s; copy it again, or correct its `duration`",
    )


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("offset", "seconds", "says"),
    [
        (20.0, 2.0, "it ends before 20 s, where the part begins"),
        (17.5, None, "it ends before 17.5 s, where the part begins"),
        (16.0, 3.0, r"it ends after 17\.3 s, the part from 16 s at 19 s"),
    ],
)
def test_a_part_beyond_the_end_is_refused(
    tmp_path: Path, name: str, offset: float, seconds: float | None, says: str
) -> None:
    path = write(tmp_path / f"a.{name}", FORMS[name])
    with pytest.raises(AudioError, match=rf"a\.{name}: {says}"):
        load(RecordingPart(path, offset, seconds))


@pytest.mark.parametrize(("offset", "seconds"), [(-1.0, 2.0), (float("nan"), 2.0), (1.0, 0.0), (0.0, float("inf"))])
def test_numbers_of_no_part_are_refused(tmp_path: Path, offset: float, seconds: float) -> None:
    with pytest.raises(AudioError, match="no part of it"):
        open_recording(RecordingPart(write(tmp_path / "a.wav", FORMS["wav"]), offset, seconds))


def test_a_part_after_the_damage_of_its_file_keeps_its_time(tmp_path: Path) -> None:
    """The decoder cannot go there; what it reads on from says that it is damaged."""
    path = write(tmp_path / "a.flac", FORMS["flac"])
    good = load(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 4 + 30000] = bytes(30000)
    path.write_bytes(data)
    recording = open_recording(RecordingPart(path, 12.0, 3.0))
    found = np.concatenate(list(recording.blocks))
    assert len(found) == 3 * RATE and np.array_equal(found, good[12 * RATE : 15 * RATE])


def test_each_channel_of_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, (3 * RATE, 2))
    soundfile.write(path, noise, RATE, "FLOAT")
    first, second = open_channels(RecordingPart(path, 1.0, 1.0))
    assert first.offset == second.offset == 1.0
    for found, channel in ((first, 0), (second, 1)):
        assert np.array_equal(np.concatenate(list(found.blocks)), noise[RATE : 2 * RATE, channel].astype(np.float32))
