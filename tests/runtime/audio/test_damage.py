"""Files that hold more than one recording, were cut short, are damaged, or whose headers say wrongly how long they are.

Decoders stop at the first end, hole or wrong number, and say nothing: half of the speech was gone, and the exit code 0.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wav2edge.runtime.audio import read
from wav2edge.runtime.audio.containers import flac, ogg, riff
from wav2edge.runtime.audio.read import Recording
from wav2edge.runtime.audio.tracks import MOST_WARNINGS, Problems
from wav2edge.runtime.errors import AudioError

Encode = Callable[..., bytes]
SecondOf = Callable[[Any, float], int]

KINDS = [
    ("MP3", None, 44100),
    ("MP3", None, 16000),
    ("OGG", "VORBIS", 16000),
    ("OGG", "OPUS", 16000),
    ("FLAC", "PCM_16", 16000),
    ("WAV", "PCM_16", 16000),
    ("WAV", "PCM_24", 44100),
    ("RF64", "PCM_16", 16000),
    ("AIFF", "PCM_16", 16000),
    ("AU", "PCM_16", 16000),
    ("CAF", "PCM_16", 16000),
    ("W64", "PCM_16", 16000),
    ("NIST", "PCM_16", 16000),
    ("NIST", "ULAW", 8000),
    ("VOC", "PCM_16", 16000),
]
COMPRESSED = KINDS[:5]


def taken(data: Any) -> tuple[NDArray[np.float32], Recording]:
    recording = read.open_recording(data, 16000)
    return np.concatenate(list(recording.blocks)), recording


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_recording_has_no_warnings(encode: Encode, second_of: SecondOf, kind: tuple[Any, ...]) -> None:
    samples, recording = taken(encode(*kind))
    assert recording.complete and recording.warnings == ()
    assert recording.seconds == pytest.approx(12, abs=0.1) and len(samples) == pytest.approx(12 * 16000, abs=1700)
    assert [second_of(samples, second + 0.4) for second in range(12)] == list(range(12))


@pytest.mark.parametrize("kind", KINDS)
def test_joined_recordings_are_all_read(encode: Encode, second_of: SecondOf, kind: tuple[Any, ...]) -> None:
    one = len(taken(encode(*kind))[0]) / 16000
    samples, recording = taken(encode(*kind) * 3)
    assert recording.complete and recording.warnings == ()
    assert recording.seconds == pytest.approx(36, abs=0.3) and len(samples) / 16000 == pytest.approx(3 * one, abs=0.001)
    for begin in (0, one, 2 * one):
        assert [second_of(samples, begin + second + 0.4) for second in range(12)] == list(range(12))


@pytest.mark.parametrize("form", ["MP3", "WAV", "FLAC", "AIFF"])
def test_a_rate_and_channels_that_change_midway(encode: Encode, second_of: SecondOf, form: str) -> None:
    data = encode(form, None, 44100) + encode(form, None, 48000, channels=2) + encode(form, None, 22050)
    samples, recording = taken(data)
    assert recording.complete and recording.channels == 2
    assert len(samples) / 16000 == pytest.approx(36, abs=0.3)
    places = [0.4 + begin + second for begin in (0.0, 12.03, 24.06) for second in range(11)]
    assert [second_of(samples, place) for place in places] == [*range(11)] * 3
    right = read.open_recording(data, 16000, channel=2)
    assert sum(map(len, right.blocks)) == len(samples)
    assert right.warnings == ("not all of it has a channel 2; the last channel of the rest was taken",)


def test_recordings_of_different_kinds_joined(encode: Encode) -> None:
    parts = [encode("WAV"), encode("OGG", "OPUS"), encode("MP3", None, 44100), encode("FLAC"), encode("WAV")]
    samples, recording = taken(b"".join(parts))
    assert recording.complete and len(samples) / 16000 == pytest.approx(60, abs=0.3)
    for seconds in (2.0, 60.0):  # where MPEG frames begin after FLAC's is not known
        _, recording = taken(encode("FLAC") + encode("MP3", None, 44100, seconds=seconds))
        assert not recording.complete and any(line.startswith("what follows its end") for line in recording.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_cut_short_is_read_as_far_as_it_goes(
    encode: Encode, second_of: SecondOf, kind: tuple[Any, ...]
) -> None:
    data = encode(*kind)
    samples, recording = taken(data[: len(data) // 2])
    assert not recording.complete
    assert len(recording.warnings) == 1 and recording.warnings[0].startswith("it breaks off after ")
    seconds = len(samples) / 16000
    assert 3.5 < seconds < 7 and f"after {seconds:.1f} s" in recording.warnings[0]
    assert [second_of(samples, second + 0.4) for second in range(3)] == [0, 1, 2]
    with pytest.raises(AudioError, match="breaks off after"):
        read.load(data[: len(data) // 2])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] not in ("AU", "CAF", "W64", "NIST", "VOC")])
def test_a_cut_recording_with_a_whole_one_joined_on(encode: Encode, second_of: SecondOf, kind: tuple[Any, ...]) -> None:
    data = encode(*kind)
    samples, recording = taken(data[: len(data) // 2] + data)
    assert not recording.complete and recording.warnings[0].startswith("it breaks off after ")
    first = len(samples) / 16000 - len(taken(data)[0]) / 16000
    assert [second_of(samples, first + second + 0.4) for second in range(12)] == list(range(12))


HOLES: dict[str, Callable[[bytes, int], bytes]] = {
    "zeros": lambda data, at: data[:at] + bytes(4000) + data[at + 4000 :],
    "inserted": lambda data, at: data[:at] + bytes(4000) + data[at:],
    "gone": lambda data, at: data[:at] + data[at + 4000 :],
    "noise": lambda data, at: data[:at] + np.random.default_rng(0).bytes(4000) + data[at + 4000 :],
}


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("kind", COMPRESSED)
def test_what_follows_a_hole_is_not_lost(encode: Encode, second_of: SecondOf, kind: tuple[Any, ...], hole: str) -> None:
    data = encode(*kind)
    samples, recording = taken(HOLES[hole](data, len(data) // 2))
    assert not recording.complete and len(recording.warnings) == 1
    said = recording.warnings[0]
    assert said.startswith("it is damaged at ") and said.endswith("; copy or convert it again")
    place = float(said.split()[4])
    assert 3.5 < place < 7
    last = len(samples) / 16000
    assert second_of(samples, last - 0.6) == 11 and second_of(samples, 0.4) == 0
    if kind[0] != "MP3":  # their frames say where they belong: what follows keeps its time
        assert last == pytest.approx(12, abs=0.05)
        assert [second_of(samples, second + 0.4) for second in (9, 10, 11)] == [9, 10, 11]


@pytest.mark.parametrize("kind", COMPRESSED)
def test_several_holes(encode: Encode, second_of: SecondOf, kind: tuple[Any, ...]) -> None:
    data = encode(*kind, seconds=30.0)
    third = len(data) // 3
    damaged = data[:third] + bytes(50) + data[third + 2000 : 2 * third] + data[2 * third + 3000 :]
    samples, recording = taken(damaged)
    assert not recording.complete and 1 <= len(recording.warnings) <= 2
    assert second_of(samples, len(samples) / 16000 - 0.6) == 29


def test_what_cannot_be_checked_is_said(encode: Encode) -> None:
    """Half of a file of a rare format counted as whole."""
    data = encode("MAT5", "PCM_16")
    for part in (data, data[: len(data) // 2]):
        _, recording = taken(part)
        assert recording.warnings == ("whether it was cut short is not known: MAT5 files are not checked for that",)


def unknown_length(data: bytes) -> bytes:
    """A FLAC as it is written to a pipe: no number of samples, no digest."""
    held = bytearray(data)
    held[21] &= 0xF0
    held[22:42] = bytes(20)
    return bytes(held)


def test_flac_of_unknown_length(encode: Encode) -> None:
    data = unknown_length(encode("FLAC"))
    for repeats in (1, 2):
        samples, recording = taken(data * repeats)
        assert recording.complete and recording.seconds == 12 * repeats and len(samples) == 12 * 16000 * repeats
    samples, recording = taken(data[: len(data) // 2])
    assert not recording.complete and 4 < len(samples) / 16000 < 7


@pytest.mark.parametrize("known", [True, False], ids=["stated", "unknown"])
def test_flac_whose_samples_look_like_a_frame_header(known: bool) -> None:
    header = bytes([0xFF, 0xF8, 0xC5, 0x08, 0x70])  # 4,096 samples from frame 112 on, far after the end
    samples = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, 5 * 16000, np.int16)  # noise is not compressed
    forged = np.frombuffer(header + bytes([flac._checksum(header)]), ">i2")
    samples[900:903] = samples[-900:-897] = forged
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16000, format="FLAC", subtype="PCM_16")
    data = stream.getvalue()
    assert data.count(forged.tobytes()) == 2
    whole, recording = taken(data if known else unknown_length(data))
    assert len(whole) == len(samples) and not recording.warnings


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_wav_whose_recorder_never_wrote_its_size(encode: Encode, size: int) -> None:
    data = bytearray(encode("WAV"))
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", size)
    for repeats in (1, 2):
        samples, recording = taken(bytes(data) * repeats)
        assert recording.complete and len(samples) == 12 * 16000 * repeats


def test_wav_that_really_holds_nothing_but_has_chunks_after_it() -> None:
    form = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="holds no samples"):
        taken(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_what_follows_and_is_not_sound_is_named(encode: Encode) -> None:
    samples, recording = taken(encode("WAV") + b"something else " * 1000)
    assert len(samples) == 12 * 16000 and not recording.complete
    assert recording.warnings == ("the last 15000 bytes are not sound that can be read",)
    assert taken(encode("WAV") + bytes(15000))[1].warnings == ()  # padding


def test_mp3_without_the_number_of_its_frames(encode: Encode, second_of: SecondOf) -> None:
    """A variable rate without a Xing header, as a stream's: the decoder guessed the length, and stopped there."""
    data = encode("MP3", None, 44100)
    length = 417 + (data[2] >> 1 & 1)
    assert b"Xing" in data[:length]
    samples, recording = taken(data[length:])
    assert recording.complete and len(samples) / 16000 == pytest.approx(12, abs=0.1)
    assert second_of(samples, 11.3) == 11
    samples, recording = taken(data + data[length:])  # its Xing header counts the first half
    assert recording.complete and len(samples) / 16000 == pytest.approx(24, abs=0.1)


def test_tags_before_between_and_after_mp3_frames_are_no_damage(tmp_path: Path, encode: Encode) -> None:
    data = encode("MP3", None, 44100)
    id3 = b"ID3\x04\x00\x00\x00\x00\x08\x00" + bytes(1024)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)
    tag = b"TAG" + bytes(125)
    samples, recording = taken(id3 + data + tag + id3 + data + bytes(0) + ape[:0] + tag)
    assert recording.complete and recording.warnings == () and len(samples) / 16000 == pytest.approx(24, abs=0.1)
    (tmp_path / "led.mp3").write_bytes(bytes(300) + data)  # other bytes before the first frame: the name says MP3
    samples, recording = taken(tmp_path / "led.mp3")
    assert recording.complete and len(samples) / 16000 == pytest.approx(12, abs=0.1)


def test_headers_that_state_a_little_too_much_are_no_damage(encode: Encode) -> None:
    """Writers count the header or the padding among the samples, and a Xing frame among the frames."""
    data = bytearray(encode("WAV"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", len(data))
    assert taken(bytes(data))[1].warnings == ()
    data = bytearray(encode("MP3", None, 44100))
    at = data.index(b"Xing") + 8
    data[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + 1)
    assert taken(bytes(data))[1].warnings == ()
    assert taken(bytes(data) + data[:200])[1].warnings == ()  # its last frame is there, and half of another follows


@pytest.mark.parametrize("form", ["FLAC", "WAV", "OGG", "AIFF"])
def test_an_id3_tag_before_another_kind_of_file(encode: Encode, form: str) -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x08\x00" + bytes(1024)
    for repeats in (1, 2):
        samples, recording = taken(tag + encode(form) * repeats)
        assert recording.complete and len(samples) == 12 * 16000 * repeats


SUBTYPES = [
    "PCM_U8",
    "PCM_24",
    "PCM_32",
    "FLOAT",
    "DOUBLE",
    "ULAW",
    "ALAW",
    "IMA_ADPCM",
    "MS_ADPCM",
    "GSM610",
]


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_kind_of_wav_is_measured_rightly(encode: Encode, second_of: SecondOf, subtype: str) -> None:
    data = encode("WAV", subtype)
    for repeats in (1, 2):
        samples, recording = taken(data * repeats)
        assert recording.complete and recording.warnings == ()
        assert recording.seconds == pytest.approx(12 * repeats, abs=0.3)
        assert len(samples) / 16000 == pytest.approx(12 * repeats, abs=0.3)
    samples, recording = taken(data[: len(data) // 2])
    assert not recording.complete and recording.warnings[0].startswith("it breaks off after")
    assert second_of(samples, 3.4) == 3


@pytest.mark.parametrize("size", [0, 0xFFFFFFFFFFFFFFFF])
def test_rf64_whose_recorder_never_wrote_its_size(encode: Encode, size: int) -> None:
    data = bytearray(encode("RF64"))
    at = data.index(b"ds64") + 8
    data[at : at + 24] = struct.pack("<QQQ", size, size, 0)
    samples, recording = taken(bytes(data))
    assert recording.complete and len(samples) == 12 * 16000


@pytest.mark.parametrize(("form", "size"), [("WAV", 2_400_000_000), ("WAV", 4_000_000_000), ("RF64", 6_000_000_000)])
def test_a_long_recording_that_was_cut_short_is_no_stream_without_a_size(
    encode: Encode, second_of: SecondOf, form: str, size: int
) -> None:
    """Every size above 2 GiB was taken for that of a recorder that did not know it, and nothing was missing then."""
    data = bytearray(encode(form))
    if form == "RF64":
        at = data.index(b"ds64") + 8
        data[at : at + 16] = struct.pack("<QQ", size + 36, size)
    else:
        at = data.index(b"data") + 4
        data[at : at + 4] = struct.pack("<I", size)
    samples, recording = taken(bytes(data))
    assert not recording.complete and recording.warnings[0].startswith("it breaks off after 12.0 s of ")
    assert second_of(samples, 11.4) == 11


@pytest.mark.parametrize("form", ["WAV", "RF64"])
@pytest.mark.parametrize("size", [0, 200_004])
def test_wav_longer_than_its_size_can_state(
    encode: Encode, second_of: SecondOf, monkeypatch: pytest.MonkeyPatch, form: str, size: int
) -> None:
    """What is beyond 4 GiB was missing without a word where the size was 0, or that of an RF64 file unknown.

    ffmpeg and sox write the largest size into longer files: what followed it was said to be no sound. Here the largest
    number is smaller, so that the file is too.
    """
    monkeypatch.setattr(riff, "_MOST", 300_000)
    monkeypatch.setattr(riff, "_UNKNOWN", (range(200_000, 300_000), range(1 << 62, 1 << 64)))
    data = bytearray(encode(form))
    if form == "RF64":
        at = data.index(b"ds64") + 8
        data[at : at + 24] = struct.pack("<QQQ", size, size, 0)
    else:
        at = data.index(b"data") + 4
        data[4:8] = data[at : at + 4] = struct.pack("<I", size)
    for repeats in (1, 2):
        samples, recording = taken(bytes(data) * repeats)
        assert recording.complete and recording.warnings == () and len(samples) == 12 * 16000 * repeats
        assert second_of(samples, 12 * repeats - 0.6) == 11


def test_aiff_longer_than_its_size_can_state(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no sizes of 64 bits: what is beyond 4 GiB is said to be missing."""
    monkeypatch.setattr(riff, "_MOST", 300_000)
    data = bytearray(encode("AIFF"))
    at = data.index(b"SSND") + 4
    data[at : at + 4] = bytes(4)
    samples, recording = taken(bytes(data))
    assert not recording.complete and "breaks off after" in recording.warnings[0]
    assert recording.warnings[0].endswith("of 12.0 s; copy or convert it again") and len(samples) < 10 * 16000


def test_what_is_missing_is_said_before_other_doubts(encode: Encode) -> None:
    """A note that came first was said to be why a recording is not whole, and ten of them hid the reason."""
    data = encode("WAV", channels=2, seconds=2.0) + encode("WAV", seconds=4.0)[:64_000]
    recording = read.open_recording(data, channel=2)
    with pytest.raises(AudioError, match="it breaks off after"):
        list(read.whole_blocks(recording))
    assert len(recording.warnings) == 2 and "channel 2" in recording.warnings[1]
    problems = Problems()
    for number in range(12):
        problems.note(f"doubt {number}")
    problems.lost("it breaks off")
    assert problems.lines[0] == "it breaks off" and len(problems.lines) == MOST_WARNINGS


def pages_of(data: bytes) -> list[tuple[int, int]]:
    """Where the pages of an Ogg file begin and end."""
    starts = [place for place in range(len(data)) if data.startswith(b"OggS\0", place)]
    return list(zip(starts, [*starts[1:], len(data)]))


def ogg_page(kind: bytes, flags: int, number: int, body: bytes) -> bytes:
    """A page of a stream that is not sound, such as Skeleton's."""
    held = bytearray(b"OggS\0" + bytes([flags]) + bytes(8) + struct.pack("<II", 77, number) + bytes(4))
    held += bytes([1, len(kind + body)]) + kind + body
    held[22:26] = struct.pack("<I", ogg._checksum(bytes(held)))
    return bytes(held)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_other_streams_between_the_pages_of_an_ogg_file(encode: Encode, subtype: str) -> None:
    """Skeleton, pictures and captions are multiplexed with the sound; pages of both alternate."""
    data = encode("OGG", subtype)
    pages = [data[start:end] for start, end in pages_of(data)]
    mixed = ogg_page(b"fishead\0", 2, 0, b"") + pages[0]
    for number, page in enumerate(pages[1:], 1):
        mixed += ogg_page(b"other", 0, number, bytes(100)) + page
    plain, _ = taken(data)
    for repeats in (1, 2):
        samples, recording = taken(mixed * repeats)
        assert recording.complete and recording.warnings == () and len(samples) == len(plain) * repeats
        np.testing.assert_array_equal(samples[: len(plain)], plain)


def numbered(pages: list[bytes]) -> bytes:
    """Pages of one stream, numbered from 0 on."""
    data = b""
    for number, each in enumerate(pages):
        page = bytearray(each)
        page[18:22], page[22:26] = struct.pack("<I", number), bytes(4)
        page[22:26] = struct.pack("<I", ogg._checksum(bytes(page)))
        data += page
    return data


@pytest.mark.parametrize(("subtype", "cut"), [("OPUS", slice(5, 8)), ("VORBIS", slice(3, 4))])
def test_pages_that_were_left_out_of_an_ogg_file_and_the_others_numbered_anew(
    encode: Encode, second_of: SecondOf, subtype: str, cut: slice
) -> None:
    """What followed came too early, and the end was called missing."""
    data = encode("OGG", subtype)
    pages = [data[start:end] for start, end in pages_of(data)]
    assert numbered(pages) == data
    whole, _ = taken(data)
    del pages[cut]
    samples, recording = taken(numbered(pages))
    assert not recording.complete and len(samples) / 16000 == pytest.approx(12, abs=0.2)
    assert [bool(re.search(r"pages are missing or damaged, \d\.\d s", line)) for line in recording.warnings] == [True]
    found, expected = ([second_of(each, second + 0.4) for second in range(12)] for each in (samples, whole))
    assert set(found) - {-1} < set(expected) and -1 in found
    assert all(one in (-1, other) for one, other in zip(found, expected))


def test_the_length_of_opus_packets() -> None:
    """By the table of RFC 6716, 3.1: SILK, hybrid, CELT; one frame, two, or a number of them."""
    packets = [b"\x00", b"\x18", b"\x61", b"\x6a", b"\x83\x30", b"\xf8", b"\xfb\x86", b"\x03", b""]
    assert [ogg._opus_samples(packet) for packet in packets] == [480, 2880, 960, 1920, 5760, 960, 5760, 0, 0]


def test_an_ogg_file_whose_second_recording_lost_its_beginning(encode: Encode) -> None:
    data = encode("OGG", "OPUS")
    other = b""
    for start, end in pages_of(data)[1:]:
        page = bytearray(data[start:end])
        page[14:18], page[22:26] = b"othr", bytes(4)
        page[22:26] = struct.pack("<I", ogg._checksum(bytes(page)))
        other += page
    samples, recording = taken(data + other)
    assert len(samples) == 12 * 16000 and not recording.complete
    assert recording.warnings == ("pages of a stream whose beginning is missing cannot be decoded",)


def test_an_mp3_in_a_wav(encode: Encode, second_of: SecondOf) -> None:
    sound = encode("MP3", None, 44100)
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44100, 8000, 1, 0, 12, 1, 2, 417, 1, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(sound)) + sound
    samples, recording = taken(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert recording.complete and len(samples) / 16000 == pytest.approx(12, abs=0.1)
    assert second_of(samples, 11.3) == 11


def test_reading_again_gives_the_same(encode: Encode) -> None:
    data = encode("FLAC")
    damaged = HOLES["gone"](data, len(data) // 2)
    recording = read.open_recording(damaged, 16000)
    first = np.concatenate(list(recording.blocks))
    np.testing.assert_array_equal(np.concatenate(list(recording.again())), first)
    assert len(recording.warnings) == 1


def test_a_long_mp3_is_parsed_quickly(encode: Encode, tmp_path: Path) -> None:
    """An hour takes a third of a second here; the bound is for slow machines."""
    import time

    data = encode("MP3", None, 44100, seconds=60.0) * 60
    started = time.perf_counter()
    recording = read.open_recording(data, 16000)
    assert recording.seconds == pytest.approx(3600, rel=0.01)
    assert time.perf_counter() - started < 10


def test_parts_are_those_of_soundfile_by_itself(encode: Encode, tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / "one").write_bytes(encode(*kind))
        expected, rate = soundfile.read(tmp_path / "one", dtype="float32")
        held = np.concatenate(list(read.open_recording(tmp_path / "one", rate).blocks))
        np.testing.assert_allclose(held, expected, atol=1e-6)
