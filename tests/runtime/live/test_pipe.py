"""Sound from pipes: raw samples in any form, WAV as recorders write it, other containers refused."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wav2edge.runtime.audio import files, text
from wav2edge.runtime.audio.files import container_of
from wav2edge.runtime.audio.raw import RawFormat
from wav2edge.runtime.audio.source import open_source
from wav2edge.runtime.errors import AudioError
from wav2edge.runtime.live.backlog import Block
from wav2edge.runtime.live.pipe import PipeSource
from wav2edge.runtime.live.sources import Item

TONE = (0.4 * np.sin(np.arange(44100) * 2 * np.pi * 440 / 44100)).astype(np.float32)
"""One second of 440 Hz at 44.1 kHz."""


def piped(data: bytes, raw: RawFormat | None = None, cut: int = 1000) -> NDArray[np.float32]:
    """What a source gives of bytes that are written in pieces of ``cut``."""
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):  # a source that refuses what comes is not read to its end
            for at in range(0, len(data), cut):
                os.write(writer, data[at : at + cut])
        os.close(writer)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        source, blocks = PipeSource(reader, raw), []
        while (items := source.read(5.0)) is not None:
            blocks += [item for item in items if isinstance(item, Block)]
    finally:
        os.close(reader)
    assert [block.start for block in blocks] == list(np.cumsum([0] + [len(b.samples) for b in blocks[:-1]]))
    return np.concatenate([block.samples for block in blocks])


def read_to_the_error(data: bytes, raw: RawFormat | None = None) -> tuple[int, str]:
    """How many samples a source gives of these bytes, and the error that it raises after them."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    source, samples = PipeSource(reader, raw), 0
    try:
        with pytest.raises(AudioError) as raised:
            while (items := source.read(5.0)) is not None:
                samples += sum(len(item.samples) for item in items if isinstance(item, Block))
    finally:
        os.close(reader)
    return samples, str(raised.value)


def wav(
    data: bytes, tag: int = 1, bits: int = 16, channels: int = 1, rate: int = 44100, size: int | None = None
) -> bytes:
    """A WAV file; size: what its header says of the samples' bytes."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    size = len(data) if size is None else size
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVE"
        + b"fmt "
        + struct.pack("<I", len(form))
        + form
        + (b"data" + struct.pack("<I", size) + data)
    )


def assert_tone(samples: NDArray[np.float32], seconds: float = 1.0) -> None:
    assert len(samples) == pytest.approx(16000 * seconds, abs=2)
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    assert spectrum.argmax() == pytest.approx(440, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.4, abs=0.02)


def test_a_pipe_may_cut_samples_in_half() -> None:
    samples = np.arange(-3000, 3000, dtype="<i2")
    reader, writer = os.pipe()
    source, data = PipeSource(reader), samples.tobytes()
    blocks: list[Item] = []
    for at in range(0, len(data), 777):
        os.write(writer, data[at : at + 777])
        blocks += source.read(1.0) or []
    os.close(writer)
    assert source.read(1.0) is None
    os.close(reader)
    read = np.concatenate([block.samples for block in blocks if isinstance(block, Block)])
    np.testing.assert_array_equal((read * 32768).astype(int), samples)


# As written into a pipe by ffmpeg 9.0, sox 14.4.2 (1 and 2, 3 channels) and arecord 1.2.8.
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFEFFC, 0x7FFFFFF0, 0x80000000])
@pytest.mark.parametrize("cut", [1, 50, 1 << 16])
def test_a_wav_file_is_obeyed(size: int | None, cut: int) -> None:
    """``arecord -f cd | wav2edge listen`` took the header and stereo 44.1 kHz for 16 kHz mono: 49 s of 9 s, no word."""
    stereo = np.stack([TONE, TONE], 1)[: 44100 if cut > 1 else 4410]
    data = (stereo * 32767).astype("<i2").tobytes()
    samples = piped(wav(data, channels=2, size=size), cut=cut)
    if cut > 1:
        assert_tone(samples)
    else:
        assert len(samples) == pytest.approx(1600, abs=2)


def test_what_follows_a_wav_files_samples_is_not_sound() -> None:
    data = (TONE * 32767).astype("<i2").tobytes()
    assert_tone(piped(wav(data) + b"LIST" + struct.pack("<I", 4000) + b"x" * 4000))


def test_a_wav_file_that_breaks_off_is_an_error_after_its_sound() -> None:
    """The end of the pipe was taken for the end of the recording."""
    data = (TONE * 32767).astype("<i2").tobytes()
    for size in (3 * len(data), 2 * len(data)):
        samples, message = read_to_the_error(wav(data[:60000], size=size))
        assert samples == pytest.approx(30000 / 44100 * 16000, abs=2)
        whole = size / 88200
        assert message == f"standard input: it breaks off after 0.7 s of {whole:.1f} s; copy or convert it again"
    assert "it breaks off after 0.7 s; copy" in read_to_the_error(wav(data[:60000], size=70000))[1]
    assert "it breaks off after 0.0 s of 2.0 s" in read_to_the_error(wav(b"", size=2 * len(data)))[1]


def test_a_few_bytes_that_a_header_states_too_many_are_no_error() -> None:
    data = (TONE * 32767).astype("<i2").tobytes()
    assert_tone(piped(wav(data, size=len(data) + 64)))


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFFFFFFFFFF])
def test_the_sizes_of_an_rf64_file_are_obeyed(stated: int) -> None:
    data = (TONE * 32767).astype("<i2").tobytes()
    plain = wav(data, size=0xFFFFFFFF)

    def rf64(size: int) -> bytes:
        """A file of 64-bit sizes; those that ffmpeg writes into a pipe are 0."""
        return b"RF64" + plain[4:12] + b"ds64" + struct.pack("<IQQQI", 28, 0, size, 0, 0) + plain[12:]

    assert_tone(piped(rf64(stated)))
    assert_tone(piped(rf64(len(data)) + b"LIST" + struct.pack("<I", 4000) + b"x" * 4000, cut=1 << 16))
    assert "it breaks off after 0.7 s of 2.0 s" in read_to_the_error(rf64(2 * len(data))[:60080])[1]


@pytest.mark.parametrize(
    "data", [b"", b"x", wav(b""), wav(b"", size=0xFFFFFFFF)], ids=["empty", "byte", "header", "unknown size"]
)
def test_a_pipe_without_a_sample_is_refused(data: bytes) -> None:
    """``wav2edge listen --stdin </dev/null`` gave exit code 0 and said nothing."""
    assert read_to_the_error(data) == (0, "standard input: no sound came; check the program that writes into the pipe")


def test_a_descriptor_that_cannot_be_read_is_an_error_after_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was an OSError, which named no source; a session then dropped the utterance that was being spoken."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(AudioError, match=r"^standard input: cannot be read \("):
            PipeSource(folder).read(1.0)
    finally:
        os.close(folder)
    with pytest.raises(AudioError, match="cannot be read"):
        PipeSource(folder).read(1.0)  # closed
    reader, writer = os.pipe()
    os.write(writer, bytes(3200))
    source = PipeSource(reader)
    assert source.read(1.0)

    def reset(descriptor: int, count: int) -> bytes:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(os, "read", reset)
    os.write(writer, bytes(3200))
    with pytest.raises(AudioError, match=r"cannot be read \(Connection reset by peer\)"):
        source.read(1.0)
    os.close(reader)
    os.close(writer)


def test_wav_files_of_floats_and_of_telephony_are_decoded() -> None:
    assert_tone(piped(wav(TONE.astype("<f4").tobytes(), tag=3, bits=32)))
    assert len(piped(wav(b"\xff" * 8000, tag=7, bits=8, rate=8000))) == pytest.approx(16000, abs=2)


def test_raw_samples_have_the_format_that_is_given() -> None:
    raw = RawFormat("f32le", rate=44100, channels=2)
    assert_tone(piped(np.stack([TONE, TONE], 1).astype("<f4").tobytes(), raw, cut=777))


@pytest.mark.parametrize(
    ("data", "raw", "message"),
    [
        (b"OggS" + b"x" * 100, None, "an Ogg file, which cannot be decoded while it arrives"),
        (b"fLaC" + b"x" * 100, None, "a FLAC file"),
        (b"\0\0\0\x20ftypM4A " + b"x" * 100, None, "an MP4"),
        (wav(b"\0" * 300, bits=24), None, "24-bit"),
        (wav(b"\0" * 300), RawFormat(), "leave the raw format out"),
        (wav(b"")[:20], None, "ends before its samples"),
        (b"RIFF\0\0\0\0WAVE" + b"junk\xf0\xff\xff\xff" * 20, None, "without samples"),
        (np.array([0.1, np.nan], "<f4").tobytes() * 8, RawFormat("f32le"), "NaN"),
    ],
    ids=["ogg", "flac", "mp4", "24 bits", "both", "cut", "no samples", "nan"],
)
def test_what_is_not_sound_as_it_stands_is_refused(data: bytes, raw: RawFormat | None, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        piped(data, raw)


PAGE = b"<!DOCTYPE html>\n<html><body>" + b"<p>no such recording</p>" * 400
TEXT = b"the recording was moved to another place\n" * 200
ADTS = (bytes.fromhex("fff16c40") + bytes([250 >> 3, (250 & 7) << 5 | 31, 0xFC]) + b"\x21" * 243) * 40


def mp3() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, TONE, 44100, format="MP3")
    return file.getvalue()


@pytest.mark.parametrize("raw", [None, RawFormat(), RawFormat("mulaw", 8000)], ids=["stdin", "s16le", "mulaw"])
@pytest.mark.parametrize("cut", [500, 1 << 16])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PAGE, "it is a web page"),
        (TEXT, "it is text"),
        (TEXT[:40], "it is text"),
        (mp3(), r"it is MPEG audio \(MP3\)"),
        (ADTS, r"it is AAC audio \(ADTS\)"),
    ],
    ids=["page", "text", "short text", "mp3", "aac"],
)
def test_text_and_compressed_sound_are_no_samples(data: bytes, message: str, cut: int, raw: RawFormat | None) -> None:
    """They were noise: `curl … | wav2edge listen --stdin` transcribed an error page, with exit code 0."""
    with pytest.raises(AudioError, match=message):
        piped(data, raw, cut)
    with pytest.raises(AudioError, match=message):
        files.raw_track(open_source(data), raw or RawFormat())


def test_samples_are_never_taken_for_something_else() -> None:
    """Constant samples, those that begin as a header of MPEG audio and repeat, and noise."""
    random = np.random.default_rng(0)
    constant = (np.full(2048, value, "<u2").tobytes() for value in range(0, 1 << 16, 53))
    repeated = (bytes([255, 0xE0 | value >> 8, value & 255, value % 251]) * 1024 for value in range(0, 1 << 13, 7))
    noise = (b"\xff\xfb" + random.bytes(4094) for _ in range(200))
    for head in itertools.chain(constant, repeated, noise):
        assert container_of(head) is None and text.kind_in_place_of_samples(head) is None
    assert len(piped(b"\x55" * 8000, RawFormat("alaw", 8000))) == pytest.approx(16000, abs=2)


@pytest.mark.parametrize(("sign", "warned"), [(1, False), (-1, True)])
def test_channels_that_cancel_each_other_are_said(sign: int, warned: bool) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, 4410)
    reader, writer = os.pipe()
    os.write(writer, wav(np.stack((noise, sign * noise), 1).astype("<i2").tobytes(), channels=2))
    os.close(writer)
    source = PipeSource(reader)
    while source.read(1.0) is not None:
        pass
    os.close(reader)
    assert bool(source.warnings) == warned and all("opposite polarity" in line for line in source.warnings)
