"""What PyAV (FFmpeg) decodes for us: all of it, what is left of damaged files, and nothing that opens other files."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.audio import media, read
from wav2edge.runtime.audio.read import Recording
from wav2edge.runtime.audio.source import open_source
from wav2edge.runtime.errors import AudioError

av = pytest.importorskip("av", reason="PyAV, the extra [media], is not installed")

Encode = Callable[..., bytes]
SecondOf = Callable[[Any, float], int]

CONTAINERS = {
    "mp4": ("mp4", "aac", 44100),
    "webm": ("webm", "libopus", 48000),
    "mkv": ("matroska", "aac", 16000),
    "adts": ("adts", "aac", 44100),
    "avi": ("avi", "pcm_s16le", 16000),
    "ac3": ("ac3", "ac3", 48000),
    "flv": ("flv", "aac", 44100),
    "mpegts": ("mpegts", "aac", 44100),
}


@pytest.fixture(scope="module")
def film(tones: Callable[[float, int], NDArray[np.float32]]) -> Callable[[str], bytes]:
    """Twelve seconds of tones in a container."""
    made: dict[str, bytes] = {}

    def write(name: str) -> bytes:
        if name not in made:
            form, codec, rate = CONTAINERS[name]
            samples = tones(12.0, rate)
            file = io.BytesIO()
            with av.open(file, "w", format=form) as container:
                stream = container.add_stream(codec, rate=rate)
                stream.layout = "mono"
                fitting = av.AudioResampler(format=stream.codec_context.format.name, layout="mono", rate=rate)
                for start in range(0, len(samples), 960):
                    frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="fltp", layout="mono")
                    frame.rate, frame.pts = rate, start
                    for part in fitting.resample(frame):
                        container.mux(stream.encode(part))
                container.mux(stream.encode(None))
            made[name] = file.getvalue()
        return made[name]

    return write


def taken(data: bytes) -> tuple[NDArray[np.float32], Recording]:
    recording = read.open_recording(data, 16000)
    return np.concatenate(list(recording.blocks)), recording


@pytest.mark.parametrize("name", CONTAINERS)
def test_whole_and_joined_files(film: Callable[[str], bytes], second_of: SecondOf, name: str) -> None:
    """FFmpeg plays the first of joined files, and says nothing of the others."""
    samples, recording = taken(film(name))
    one = len(samples) / 16000
    assert recording.complete and recording.warnings == () and one == pytest.approx(12, abs=0.1)
    assert [second_of(samples, second + 0.4) for second in range(12)] == list(range(12))
    samples, recording = taken(film(name) * 3)
    assert recording.complete and len(samples) / 16000 == pytest.approx(3 * one, abs=0.15)
    assert second_of(samples, 2 * one + 11.3) == 11


@pytest.mark.parametrize("name", ["webm", "mkv", "flv", "adts", "avi"])
def test_cut_files_are_read_as_far_as_they_go(film: Callable[[str], bytes], second_of: SecondOf, name: str) -> None:
    data = film(name)
    samples, recording = taken(data[: len(data) // 2])
    assert not recording.complete and len(recording.warnings) == 1
    assert 4 < len(samples) / 16000 < 7 and [second_of(samples, second + 0.4) for second in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["mp4", "webm", "mkv", "flv", "adts", "ac3", "mpegts"])
def test_what_follows_a_hole_is_not_lost(film: Callable[[str], bytes], second_of: SecondOf, name: str) -> None:
    data = film(name)
    half = len(data) // 2
    samples, recording = taken(data[:half] + np.random.default_rng(1).bytes(3000) + data[half + 3000 :])
    assert not recording.complete
    assert recording.warnings[0].startswith(("it is damaged at 5.", "it is damaged at 6.", "it is damaged at 4."))
    last = len(samples) / 16000
    assert second_of(samples, last - 0.6) == 11 and second_of(samples, 0.4) == 0


def test_an_mp4_whose_index_was_never_written(film: Callable[[str], bytes]) -> None:
    with pytest.raises(AudioError, match=r"an MP4 file without its index \(moov\), as one that was cut short"):
        taken(film("mp4")[:20000])


def test_a_codec_that_nothing_decodes() -> None:
    """It was an AttributeError: FFmpeg has no decoder to ask for a rate."""
    pcm = b"\1\2" * 16000
    form = struct.pack("<HHIIHH", 0x5555, 1, 16000, 32000, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(pcm)) + pcm
    with pytest.raises(AudioError, match="its sound is of a kind that cannot be decoded"):
        taken(b"RIFF" + struct.pack("<I", len(body)) + body)


LISTS = {
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD><Period><AdaptationSet><BaseURL>{path}</BaseURL></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("suffix", ["wav", "m3u8", "ac3", "mp4"])
def test_a_list_never_opens_another_file(tmp_path: Path, encode: Encode, name: str, suffix: str) -> None:
    """A playlist under an audio name made FFmpeg open whatever it names."""
    other = tmp_path / "other.wav"
    other.write_bytes(encode("WAV", seconds=2.0))
    path = tmp_path / f"list.{suffix}"
    path.write_text(LISTS[name].format(path=other))
    with pytest.raises(AudioError, match="not a recording that can be read") as caught:
        read.open_recording(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(AudioError):  # nor where it is not recognised as text
        media.open_track(open_source(path), why="not a recording")


TEXTS = {
    "a pointer of Git LFS": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a web page": "<!DOCTYPE html><html><body>404</body></html>",
    "a list of other files": "#EXTM3U\ntalk.mp3\n",
    "text, not a recording": "Not found\n",
}


@pytest.mark.parametrize("words", TEXTS)
@pytest.mark.parametrize("suffix", ["flac", "mp3", "ac3", "dts", "m4a", "wav"])
def test_text_under_a_name_of_sound(tmp_path: Path, words: str, suffix: str) -> None:
    """FFmpeg takes any text for AC-3 of rate 0, which was a traceback."""
    path = tmp_path / f"a.{suffix}"
    path.write_text(TEXTS[words])
    with pytest.raises(AudioError, match=words) as caught:
        read.open_recording(path)
    assert "\n" not in str(caught.value)
