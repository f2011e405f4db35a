"""Any recording in, mono samples at the model's rate out; and every recording that cannot be used."""

from __future__ import annotations

import builtins
import io
import math
import os
import re
import threading
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile

from wav2edge.runtime import remedies
from wav2edge.runtime.audio import media, read
from wav2edge.runtime.errors import AudioError


def tone(rate: int, seconds: float = 1.5, channels: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    wave = 0.4 * np.sin(2 * math.pi * 440 * np.arange(int(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff", "au"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(16000), 16000)
    samples = read.load(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert abs(len(samples) - 24000) <= 1200
    assert abs(float(np.sqrt(np.mean(samples[4000:20000] ** 2))) - 0.4 / math.sqrt(2)) < 0.01


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels_read_as_a_stream_equal_one_pass(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    written = tone(rate, 11.0, channels) * np.linspace(1, 0.2, channels, dtype=np.float32)
    soundfile.write(path, written, rate, subtype="FLOAT")
    recording = read.open_recording(path)
    blocks = list(recording.blocks)
    assert recording.seconds == pytest.approx(11.0)
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), read.prepare(written, rate, 16000))


def test_a_relative_name_stays_that_of_the_file_it_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are read when they are asked for: a program that had changed its directory by then got an error."""
    soundfile.write(tmp_path / "tone.wav", tone(16000), 16000)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    recording = read.open_recording("tone.wav")
    monkeypatch.chdir("there")
    assert sum(map(len, recording.blocks)) == 24000 and recording.name == "tone.wav"
    (tmp_path / "tone.wav").unlink()
    with pytest.raises(AudioError, match=r"^tone\.wav: cannot be read"):
        next(recording.again())


def test_an_array_comes_in_blocks_as_a_file_does() -> None:
    """An hour as one block was copied for each chunk, and without pauses took longer than with them."""
    wave = tone(16000, seconds=12.3)
    recording = read.open_recording(wave, 16000)
    for blocks in (list(recording.blocks), list(recording.again())):
        assert [len(block) for block in blocks] == [80000, 80000, 36800]
        np.testing.assert_array_equal(np.concatenate(blocks), wave.reshape(-1))
    faster = np.concatenate(list(read.open_recording(wave, 24000, sample_rate=16000).blocks))
    np.testing.assert_allclose(faster, read.prepare(wave, 16000, 24000), atol=1e-6)


def test_a_long_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(48000 * 60, np.int16), 48000)
    longest = max(len(block) for block in read.open_recording(path).blocks)
    assert longest <= 16000 * (read.BLOCK_SECONDS + 1)


def test_a_pipe_and_standard_input(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(16000), 16000)
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()))
    writer.start()
    through_pipe = read.load(fifo)
    writer.join()
    np.testing.assert_array_equal(through_pipe, read.load(path))
    with path.open("rb") as file:
        np.testing.assert_array_equal(read.load(cast(BinaryIO, file)), read.load(path))
    np.testing.assert_array_equal(read.load(io.BytesIO(path.read_bytes())), read.load(path))


def truncated(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 160000).astype(np.float32), 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "gone.wav": (None, "no such file"),
    "zero.wav": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text.wav": (
        lambda path: path.write_text("these are words, no sound\n" * 50),
        r"not a recording that can be read \(Format not recognised\)",
    ),
    "silent.wav": (lambda path: soundfile.write(path, np.zeros(0, np.float32), 16000), "holds no samples"),
    "nan.wav": (
        lambda path: soundfile.write(path, np.array([0.0, math.nan] * 800, np.float32), 16000, subtype="FLOAT"),
        "NaN, infinite or huge",
    ),
    "folder.wav": (lambda path: path.mkdir(), "is a directory"),
    "half.flac": (truncated, r"breaks off after \d\.\d s of 10.0 s"),
}


@pytest.mark.parametrize("name", BAD)
def test_recordings_that_cannot_be_used_give_one_line_that_names_them(tmp_path: Path, name: str) -> None:
    make, says = BAD[name]
    if make is not None:
        make(tmp_path / name)
    with pytest.raises(AudioError, match=says) as caught:
        read.load(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["https://example.org/talk.wav", "s3://bucket/x.flac", Path("http://a.org/x.mp3")])
def test_urls_are_not_fetched(name: str | Path) -> None:
    with pytest.raises(AudioError, match="not fetched"):
        read.load(name)


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    soundfile.write(path, tone(16000), 16000)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root reads everything: ask as nobody
        os.seteuid(65534)
    try:
        with pytest.raises(AudioError, match="Permission denied"):
            read.load(path)
    finally:
        os.seteuid(user)


def test_samples_are_checked_too() -> None:
    with pytest.raises(AudioError, match="holds no samples"):
        read.prepare(np.zeros(0, np.float32), 16000, 16000)
    with pytest.raises(AudioError, match="samples, channels"):
        read.prepare(np.zeros((2, 2, 2), np.float32), 16000, 16000)
    with pytest.raises(AudioError, match="NaN"):
        read.prepare(np.array([np.inf], np.float32), 16000, 16000)


def encode(path: Path, codec: str, rate: int, video: bool = False) -> None:
    av = pytest.importorskip("av", reason="PyAV, the extra [media], is not installed")
    samples = tone(rate, 2.0)[:, 0]
    with av.open(str(path), "w") as container:
        if video:
            picture = container.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        sound.layout = "mono"
        if video:
            for _ in range(20):
                container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
            container.mux(picture.encode(None))
        for start in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="fltp", layout="mono")
            frame.rate = rate
            frame.pts = start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "rate", "video"),
    [("a.m4a", "aac", 44100, False), ("a.webm", "libopus", 48000, False), ("a.mkv", "aac", 16000, True)],
)
def test_media_that_soundfile_does_not_read(tmp_path: Path, name: str, codec: str, rate: int, video: bool) -> None:
    encode(tmp_path / name, codec, rate, video)
    recording = read.open_recording(tmp_path / name)
    samples = np.concatenate(list(recording.blocks))
    assert recording.seconds == pytest.approx(2.0, abs=0.1)
    assert abs(len(samples) - 32000) < 2400
    assert abs(float(np.sqrt(np.mean(samples[8000:24000] ** 2))) - 0.4 / math.sqrt(2)) < 0.02


def test_a_video_without_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV, the extra [media], is not installed")
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(picture.encode(None))
    with pytest.raises(AudioError, match="no sound track"):
        read.load(tmp_path / "mute.mp4")


def test_without_pyav_the_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "available", lambda: False)
    imports = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return imports(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    with pytest.raises(AudioError, match=re.escape(remedies.install("media"))):
        read.load(tmp_path / "a.m4a")
    (tmp_path / "a.wav").write_bytes(b"text" * 100)
    with pytest.raises(AudioError, match="not a recording") as caught:
        read.load(tmp_path / "a.wav")
    assert "PyAV" not in str(caught.value)


def write_beside(path: Path, level: float, seconds: int) -> None:
    """Put a recording of one level in a file's place, as programs that write whole files do."""
    beside = path.with_name("beside.wav")
    soundfile.write(beside, np.full(16000 * seconds, level), 16000)
    beside.replace(path)


def test_a_file_that_is_replaced_while_it_is_read_is_not_read_by_the_structure_of_the_old_one(tmp_path: Path) -> None:
    """The longer file was decoded up to the length of the shorter one, and counted as complete."""
    path = tmp_path / "a.wav"
    write_beside(path, 0.1, 2)
    recording = read.open_recording(path)
    write_beside(path, 0.5, 4)
    with pytest.raises(AudioError, match="it was replaced or cut while it was read"):
        next(recording.blocks)
    recording = read.open_recording(path)
    first = next(recording.blocks)
    write_beside(path, 0.1, 4)
    assert sum(map(len, recording.blocks)) + len(first) == 4 * 16000, "what is open already is the old file"
    with pytest.raises(AudioError, match="was replaced"):
        next(recording.again())


def test_a_file_that_grows_is_read_as_far_as_it_went_when_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(2 * 16000))
    recording = read.open_recording(path, raw=read.RawFormat())
    with path.open("ab") as file:
        file.write(bytes(2 * 16000))
    assert sum(map(len, recording.blocks)) == 16000 and recording.complete


def test_samples_without_a_header_that_become_fewer_break_off(tmp_path: Path) -> None:
    """The rest was missing without a word."""
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(2 * 16000 * 20))
    recording = read.open_recording(path, raw=read.RawFormat())
    first = next(recording.blocks)
    os.truncate(path, 2 * 16000 * 7)
    assert len(first) + sum(map(len, recording.blocks)) == 7 * 16000
    assert not recording.complete
    assert recording.warnings == ("it breaks off after 7.0 s; copy or convert it again",)
