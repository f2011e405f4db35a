"""What PyAV (FFmpeg) decodes for us: all of it, what is left of damaged files, and nothing that opens other files."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.runtime.audio import media, read
from wav2edge.runtime.audio.containers import Parsed
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
    "avi with mp3": ("avi", "libmp3lame", 44100),
    "ac3": ("ac3", "ac3", 48000),
    "flv": ("flv", "aac", 44100),
    "mpegts": ("mpegts", "aac", 44100),
    "ogg with flac": ("ogg", "flac", 16000),
    "flv with mp3": ("flv", "libmp3lame", 22050),
    "tta": ("tta", "tta", 16000),
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


CUT = ["webm", "mkv", "flv", "flv with mp3", "adts", "avi", "avi with mp3", "ogg with flac", "tta"]


@pytest.mark.parametrize("name", CUT)
def test_cut_files_are_read_as_far_as_they_go(film: Callable[[str], bytes], second_of: SecondOf, name: str) -> None:
    """Half of an Ogg FLAC counted as whole: FFmpeg does not say where one breaks off, and its pages were not asked.

    Half of an FLV with MP3 counted as whole, or ended in an IndexError: FFmpeg finds another track at its end.
    """
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


def test_a_cut_ogg_flac_before_a_whole_one_is_named(film: Callable[[str], bytes], second_of: SecondOf) -> None:
    data = film("ogg with flac")
    samples, recording = taken(data[: len(data) // 2] + data)
    assert not recording.complete and recording.warnings[0].startswith("it breaks off after ")
    last = len(samples) / 16000
    assert [second_of(samples, last - 12 + second + 0.4) for second in range(12)] == list(range(12))


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
        media.open_track(open_source(path), why="not a recording", parsed=Parsed([], 0))


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


@pytest.fixture(scope="module")
def picture(tones: Callable[[float, int], NDArray[np.float32]]) -> Callable[[str, float], bytes]:
    """Nine seconds of picture, and four of tones from a second on."""

    def write(form: str, begin: float) -> bytes:
        rate, file = 16000, io.BytesIO()
        samples = (tones(4.0, rate) * 32767).astype(np.int16)
        with av.open(file, "w", format=form) as container:
            video = container.add_stream("mpeg4", rate=25)
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            sound = container.add_stream("pcm_s16le" if form == "avi" else "flac", rate=rate)
            sound.layout, sound.format = "mono", "s16"
            for number in range(9 * 25):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                frame.pts = number
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            for start in range(0, len(samples), 1000):
                part = av.AudioFrame.from_ndarray(samples[None, start : start + 1000], format="s16", layout="mono")
                part.sample_rate, part.pts = rate, start + round(begin * rate)
                part.time_base = Fraction(1, rate)
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
        return file.getvalue()

    return write


@pytest.mark.parametrize("form", ["matroska", "mp4", "avi"])
def test_a_film_longer_than_its_sound_is_whole(picture: Callable[[str, float], bytes], form: str) -> None:
    """Matroska states the length of the longest track as the file's: the sound "broke off"."""
    samples, recording = taken(picture(form, 0.0))
    assert recording.complete and recording.warnings == () and len(samples) == pytest.approx(64000, abs=2000)


@pytest.mark.parametrize("form", ["matroska", "mp4"])
def test_sound_that_begins_after_the_picture_keeps_its_time(
    picture: Callable[[str, float], bytes], second_of: SecondOf, form: str
) -> None:
    """Subtitles came as much too early as the sound began late."""
    samples, recording = taken(picture(form, 3.0))
    assert recording.complete and len(samples) == pytest.approx(7 * 16000, abs=2000)
    assert not samples[:45000].any()
    assert [second_of(samples, 3.4 + second) for second in range(4)] == [0, 1, 2, 3]


def test_a_film_whose_sound_breaks_off_is_named(picture: Callable[[str, float], bytes]) -> None:
    data = picture("mp4", 3.0)
    broken = bytearray(data)
    broken[data.index(b"mdat") + len(data) // 4 : data.index(b"moov") - 4] = bytes(
        data.index(b"moov") - 4 - data.index(b"mdat") - len(data) // 4
    )
    assert not taken(bytes(broken))[1].complete


def timed(starts: list[int], samples: NDArray[np.float32]) -> bytes:
    """Packets of 20 ms in Matroska, at these samples of the clock."""
    rate, file = 16000, io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        sound = container.add_stream("pcm_s16le", rate=rate)
        sound.layout = "mono"
        for number, pts in enumerate(starts):
            values = (samples[None, number * 320 : (number + 1) * 320] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return file.getvalue()


def test_short_gaps_add_up(tones: Callable[[float, int], NDArray[np.float32]], second_of: SecondOf) -> None:
    """A recorder of a call leaves out packets that were lost: words after 100 of them were two seconds early."""
    starts = [320 * (number + number // 9) for number in range(600)]  # every tenth packet of 20 ms is missing
    samples, recording = taken(timed(starts, tones(12.0, 16000)))
    assert recording.complete and recording.warnings == ()
    assert len(samples) == pytest.approx(starts[-1] + 320, abs=1600)
    places = [starts[second * 50 + 10] / 16000 for second in range(12)]
    assert [second_of(samples, place) for place in places] == list(range(12))


def test_times_that_waver_add_no_silence(tones: Callable[[float, int], NDArray[np.float32]]) -> None:
    """A recorder that writes the times of arrival: each packet that was late by 80 ms made the recording longer."""
    starts = [320 * number + (1280 if number % 10 == 9 else 0) for number in range(600)]
    starts = [max(starts[: number + 1]) for number in range(600)]  # as a stream arrives, in order
    samples, recording = taken(timed(starts, tones(12.0, 16000)))
    assert recording.complete and len(samples) == pytest.approx(12 * 16000, abs=1600)
