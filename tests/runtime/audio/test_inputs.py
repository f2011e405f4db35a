"""What people hold when they call from Python: names, bytes, files, arrays, tensors, lists; and what is refused."""

from __future__ import annotations

import array
import io
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wav2edge.runtime.audio import read
from wav2edge.runtime.audio.raw import RawFormat
from wav2edge.runtime.errors import AudioError

RATE = 16000


@pytest.fixture(scope="module")
def wave() -> NDArray[np.float32]:
    """One second on the 16-bit grid."""
    values = np.rint(12000 * np.sin(2 * math.pi * 440 * np.arange(RATE) / RATE)) / 32768
    return np.asarray(values, dtype=np.float32)


def samples(source: Any, rate: int = RATE, **named: Any) -> NDArray[np.float32]:
    return np.concatenate(list(read.open_recording(source, rate, **named).blocks))


def as_file(wave: NDArray[np.float32], rate: int = RATE, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=form, subtype=subtype)
    return file.getvalue()


def test_names_bytes_files_and_samples_are_the_same_recording(tmp_path: Path, wave: NDArray[np.float32]) -> None:
    data = as_file(wave)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    later = io.BytesIO(b"other" + data)
    later.seek(5)
    sources: list[Any] = [str(path), path, data, bytearray(data), memoryview(data), io.BytesIO(data), later]
    sources += [wave, wave.astype(np.float64), wave.tolist(), wave[:, None], wave[None], np.stack([wave, wave])]
    sources += [np.stack([wave, wave], axis=1), {"array": wave, "sampling_rate": RATE}, {"path": str(path)}]
    for source in sources:
        recording = read.open_recording(source, RATE)
        assert recording.seconds == pytest.approx(1.0)
        for blocks in (recording.blocks, recording.again()):
            np.testing.assert_allclose(np.concatenate(list(blocks)), wave, atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "factor", "offset"),
    [("int8", 128, 0), ("int16", 32768, 0), (">i2", 32768, 0), ("int32", 2**31, 0), ("uint8", 128, 128)],
)
def test_integers_are_scaled_by_their_type(wave: NDArray[np.float32], kind: str, factor: int, offset: int) -> None:
    held = np.rint(wave.astype(np.float64) * factor + offset).astype(kind)
    np.testing.assert_allclose(samples(held), wave, atol=1 / min(factor, 32768))
    assert np.abs(samples(held)).max() == pytest.approx(12000 / 32768, rel=0.02)


def test_integers_take_no_more_memory_than_their_samples() -> None:
    """Two copies in float64 were made on the way: an hour of int16 took 660 MB, for samples of 230."""
    held = np.full(2_000_000, 3, np.int16)
    tracemalloc.start()
    try:
        recording = read.open_recording(held, RATE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * 4 * len(held) and next(recording.blocks)[0] == np.float32(3 / 32768)


def test_a_torch_tensor_and_an_array_of_integers(wave: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(samples(array.array("h", (wave * 32768).astype(int).tolist())), wave)
    torch = pytest.importorskip("torch", reason="torch, of the extra [export], is not installed")
    np.testing.assert_array_equal(samples(torch.from_numpy(wave).requires_grad_()), wave)
    np.testing.assert_array_equal(samples(torch.from_numpy(wave)[None]), wave)
    with pytest.raises(AudioError, match="cannot be taken as an array"):
        samples(torch.from_numpy(wave).bfloat16())


def test_a_rate_is_taken_for_samples_and_held_against_a_file(wave: NDArray[np.float32]) -> None:
    assert len(samples(wave[::2], sample_rate=8000)) == RATE
    assert len(samples(wave[::2], sample_rate=np.int64(8000))) == RATE
    assert len(samples(as_file(wave[::2], 8000), sample_rate=8000)) == RATE
    with pytest.raises(AudioError, match="sample_rate is 16000 Hz and the file says 8000 Hz"):
        samples(as_file(wave, 8000), sample_rate=16000)
    with pytest.raises(AudioError, match="sample_rate is 16000 Hz and `sampling_rate` says 8000 Hz"):
        samples({"array": wave, "sampling_rate": 8000}, sample_rate=16000)


RATES = [0, -8000, 1, 999, 1_000_001, 10**400, math.nan, math.inf, 16000.5, True, "16000", b"1"]


@pytest.mark.parametrize("rate", RATES, ids=range(len(RATES)))
def test_rates_that_are_refused(wave: NDArray[np.float32], rate: Any) -> None:
    for source in (wave, as_file(wave), {"array": wave, "sampling_rate": rate}):
        with pytest.raises(AudioError, match="sample rate") as caught:
            samples(source, sample_rate=rate)
        assert "\n" not in str(caught.value)


def test_a_file_of_one_hertz_is_refused() -> None:
    """32 kB were 4.4 hours of sound, and minutes of computing."""
    data = bytearray(as_file(np.zeros(16000, np.float32)))
    data[24:32] = (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    with pytest.raises(AudioError, match="a sample rate of 1 Hz; it must be from 1000 Hz to 1000000 Hz"):
        samples(bytes(data))


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "of type NoneType; give a file's name"),
    "a number": (5, "of type int; give a file's name"),
    "an object": (object(), "of type object"),
    "integers in a list": ([1, 2, 3] * 1000, "type int64 have no known scale; give int16"),
    "words in a list": (["a", "b"], "have no known scale"),
    "a ragged list": ([[1.0], [1.0, 2.0]], "cannot be taken as an array"),
    "truth values": (np.zeros(1000, bool), "have no known scale"),
    "masked samples": (np.ma.masked_greater(np.linspace(0, 1, 1000), 0.5), "some of its samples are masked"),
    "complex numbers": (np.zeros(1000, complex), "have no known scale"),
    "objects": (np.array([object()] * 50), "have no known scale"),
    "a scalar": (np.float32(0.5), r"shape \[\]"),
    "three axes": (np.zeros((2, 2, 2), np.float32), r"shape \[2, 2, 2\]"),
    "both small": (np.zeros((2, 3), np.float32), "both could be the channels"),
    "both large": (np.zeros((100, 200), np.float32), "more than 32 channels either way"),
    "no samples": (np.zeros((0, 2), np.float32), "holds no samples"),
    "an empty list": ([], "holds no samples"),
    "NaN": (np.full(1000, np.nan), "NaN or infinite"),
    "infinity": (np.full(1000, 1e300), "NaN or infinite"),
    "unscaled integers": (np.full(1000, 12000.0), r"floating-point samples up to 12000; they must be in \[-1, 1\]"),
    "no bytes": (b"", "holds no data"),
    "not audio": (b"RIFF" * 100, "not a recording that can be read"),
    "an empty file": (io.BytesIO(), "holds no data"),
    "a text file": (io.StringIO("words"), "open as text; open it with mode 'rb'"),
    "an empty mapping": ({}, "without `array`, `bytes` or `path`"),
    "a name with a zero": ("a\0b.wav", "cannot be read|no such file"),
    "a folder": (Path("/"), "is a directory"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_so_in_one_line(name: str) -> None:
    source, says = REFUSED[name]
    with pytest.raises(AudioError, match=says) as caught:
        samples(source)
    assert "\n" not in str(caught.value)


def test_a_stream_that_can_only_be_read(wave: NDArray[np.float32]) -> None:
    """A response of an HTTP library has ``read``, and often nothing else."""

    class Response:
        def __init__(self) -> None:
            self._held = io.BytesIO(as_file(wave))

        def read(self, count: int = -1) -> bytes:
            return self._held.read(count)

    recording = read.open_recording(Response(), RATE)  # type: ignore[arg-type]
    for blocks in (recording.blocks, recording.again()):
        np.testing.assert_allclose(np.concatenate(list(blocks)), wave, atol=1e-7)


def test_a_file_at_its_end_and_a_closed_one(wave: NDArray[np.float32]) -> None:
    written = io.BytesIO()
    written.write(as_file(wave))
    with pytest.raises(AudioError, match=r"at its end, seek\(0\) first"):
        samples(written)
    written.close()
    with pytest.raises(AudioError, match="closed file"):
        samples(written)


RAW = {"s16le": "PCM_16", "f32le": "FLOAT", "mulaw": "ULAW", "alaw": "ALAW"}


@pytest.mark.parametrize("encoding", RAW)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_without_a_header(tmp_path: Path, wave: NDArray[np.float32], encoding: Any, channels: int) -> None:
    """Libsndfile's own encoders are the measure."""
    path = tmp_path / "call.raw"
    written = np.repeat(wave[:, None], channels, axis=1)
    form: dict[str, Any] = {"format": "RAW", "subtype": RAW[encoding], "endian": "LITTLE"}
    soundfile.write(path, written, 8000, **form)
    expected, _ = soundfile.read(path, samplerate=8000, channels=channels, dtype="float32", **form)
    raw = RawFormat(encoding, 8000, channels)
    for source in (path, path.read_bytes(), path.read_bytes() + b"\0" * (raw.frame_bytes - 1)):
        last = samples(source, 8000, raw=raw, channel=channels)
        np.testing.assert_array_equal(last, expected.reshape(RATE, -1)[:, -1])
    recording = read.open_recording(path, RATE, raw=raw)
    assert recording.seconds == 2.0 and len(np.concatenate(list(recording.blocks))) == 2 * RATE
    assert len(samples(path, raw=raw, sample_rate=8000)) == 2 * RATE
    with pytest.raises(AudioError, match="sample_rate is 44100 Hz and the raw format says 8000 Hz"):
        samples(path, raw=raw, sample_rate=44100)


@pytest.mark.parametrize("suffix", ["raw", "pcm", "ulaw", "al"])
def test_headerless_samples_say_what_they_need(tmp_path: Path, wave: NDArray[np.float32], suffix: str) -> None:
    """With PyAV it was "no sound track", without it nothing that helps."""
    path = tmp_path / f"call.{suffix}"
    path.write_bytes((wave * 32767).astype("<i2").tobytes())
    with pytest.raises(AudioError, match=r"\); samples without a header need their raw format: encoding, rate and"):
        samples(path)


def test_a_raw_format_for_what_has_a_header_and_formats_that_do_not_exist(wave: NDArray[np.float32]) -> None:
    for form, subtype, says in (("WAV", "PCM_16", "a RIFF"), ("FLAC", "PCM_16", "a FLAC"), ("OGG", "OPUS", "an Ogg")):
        with pytest.raises(AudioError, match=f"it is {says}.* leave the raw format out"):
            samples(as_file(wave, RATE, form, subtype), raw=RawFormat())
    with pytest.raises(AudioError, match="an array has no raw format"):
        samples(wave, raw=RawFormat())
    bad: list[tuple[Any, Any, Any]] = [("s24", 16000, 1), ("s16le", 0, 1), ("s16le", 16000, 0), ("s16le", 16000, 99)]
    for arguments in bad:
        with pytest.raises(AudioError):
            RawFormat(*arguments)


@pytest.fixture
def stereo(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Speech-like noise of two speakers, the second one louder."""
    noise = np.random.default_rng(0).normal(0, 0.05, (RATE, 2)).astype(np.float32)
    return noise * np.array([1, 2], np.float32)


def test_channels_are_chosen(stereo: NDArray[np.float32]) -> None:
    left, right = stereo.T
    chosen: list[tuple[Any, NDArray[np.float32]]] = [("left", left), (1, left)]
    chosen += [(channel, right) for channel in ("right", 2, "2", "loudest")]
    for channel, expected in chosen:
        np.testing.assert_array_equal(samples(stereo, channel=channel), expected)
    np.testing.assert_array_equal(samples(stereo), stereo.mean(axis=1))
    each = read.open_channels(stereo, RATE)
    assert [recording.channel for recording in each] == [1, 2]
    for recording, expected in zip(each, (left, right)):
        np.testing.assert_array_equal(np.concatenate(list(recording.blocks)), expected)
    np.testing.assert_array_equal(samples(left, channel="right"), left)  # mono: left and right are all there is
    wrong: list[Any] = [3, 0, -1, "up", None, True, 1.5]
    for channel in wrong:
        with pytest.raises(AudioError, match="channel"):
            samples(stereo, channel=channel)


def test_channels_that_do_not_fit_together_are_not_averaged_without_a_word(
    wave: NDArray[np.float32], stereo: NDArray[np.float32]
) -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, RATE).astype(np.float32)

    def warnings(held: NDArray[np.float32], **named: Any) -> tuple[str, ...]:
        recording = read.open_recording(held, RATE, **named)
        assert sum(len(block) for block in recording.blocks) == RATE and recording.complete
        return recording.warnings

    assert len(warnings(stereo)) == 1 and "hold different sound, and were averaged" in warnings(stereo)[0]
    assert warnings(stereo, channel="loudest") == warnings(stereo, channel=1) == ()
    assert "opposite polarity" in warnings(np.stack([wave, -wave], axis=1))[0]
    same = np.stack([wave + 0.2 * noise, 0.5 * wave], axis=1)  # two microphones at one source
    assert warnings(same) == warnings(np.stack([wave, 0 * wave], axis=1)) == ()


@pytest.mark.parametrize("value", [1e38, 1e20, np.nan, np.inf])
def test_floats_that_no_recording_holds(value: float) -> None:
    """Finite samples of 1e38 overflowed in the resampler, and NaN went on into the model."""
    samples = np.full(2000, value, "<f4")
    with pytest.raises(AudioError, match="NaN, infinite or huge"):
        list(read.open_recording(samples.tobytes(), raw=RawFormat("f32le", 8000)).blocks)


@pytest.mark.parametrize("scale", [1.0, 32768.0])
@pytest.mark.parametrize("value", [1e3, -1e7])
def test_single_damaged_samples_become_silence(value: float, scale: float) -> None:
    """One of 1e3 among samples below one hid all speech of a recording, whose text was empty."""
    samples = (np.random.default_rng(0).normal(0, 0.1, 20000) * scale).astype("<f4")
    whole = read.open_recording(samples.tobytes(), raw=RawFormat("f32le", 16000))
    assert np.array_equal(np.concatenate(list(whole.blocks)), samples) and whole.complete
    damaged = samples.copy()
    damaged[[5000, 12000]] = value * scale
    recording = read.open_recording(damaged.tobytes(), raw=RawFormat("f32le", 16000))
    found = np.concatenate(list(recording.blocks))
    assert not recording.complete and "some of its samples are damaged" in recording.warnings[0]
    samples[[5000, 12000]] = 0
    assert np.array_equal(found, samples)
