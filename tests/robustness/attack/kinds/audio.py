"""Recordings of every container, damaged, joined with others, or under a wrong name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

from wav2edge.runtime.audio import read

from ..mutation import damaged, pick

FORMS = (
    ("MP3", None, 44100, 1),
    ("MP3", None, 16000, 2),
    ("OGG", "VORBIS", 16000, 1),
    ("OGG", "OPUS", 16000, 2),
    ("FLAC", "PCM_16", 16000, 1),
    ("FLAC", "PCM_24", 48000, 2),
    ("WAV", "PCM_16", 16000, 1),
    ("WAV", "FLOAT", 44100, 2),
    ("WAV", "ULAW", 8000, 1),
    ("WAV", "MS_ADPCM", 8000, 1),
    ("WAVEX", "PCM_24", 16000, 6),
    ("RF64", "PCM_16", 16000, 1),
    ("AIFF", "PCM_16", 16000, 1),
    ("AU", "PCM_16", 16000, 1),
    ("CAF", "PCM_16", 16000, 1),
    ("W64", "PCM_16", 16000, 1),
)
"""Container, encoding, rate, channels."""
FILMS = (("m4a", "aac"), ("webm", "libopus"), ("mkv", "flac"), ("mp4", "aac"), ("aac", "aac"))
"""Files that need the extra [media]: suffix, codec."""
SUFFIXES = (
    ".wav", ".mp3", ".ogg", ".opus", ".flac", ".m4a", ".webm", ".mp4", ".aac", ".caf", ".au", ".aiff", ".w64",
    ".rf64", ".m3u8", ".ffconcat",
    ".ac3", ".dts", ".amr", "", ".txt", ".mkv", ".ts", ".gsm", ".raw",
)  # fmt: skip
PLAYLISTS = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n../victim.txt\n#EXT-X-ENDLIST\n",
    b"ffconcat version 1.0\nfile ../secret.fifo\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"<html><head><title>404</title></head></html>",
    b"",
)
MOST_SECONDS = 7200
"""Of sound from an input of some kilobytes; more is a header that was believed."""


class Inputs:
    """Audio files of some kilobytes."""

    def __init__(self, scratch: Path) -> None:
        """Encode a second of tones in every way."""
        self.whole = [(form.lower(), _encoded(form, *rest)) for form, *rest in FORMS]
        self.whole += _films(scratch)

    def __call__(self, random: Generator, folder: Path) -> str:
        """Read a damaged file to its end, each channel or a mix."""
        suffix, data = pick(random, self.whole)
        way = random.random()
        if way < 0.1:
            data = pick(random, PLAYLISTS) + data[: int(random.integers(0, 200))]
        elif way < 0.25:
            data += pick(random, self.whole)[1]
        if way > 0.05 and random.random() < 0.9:
            data = damaged(random, data, pick(random, self.whole)[1])
        suffix = f".{suffix}" if random.random() < 0.7 else pick(random, SUFFIXES)
        file = folder / f"input{suffix}"
        file.write_bytes(data)
        sources: tuple[read.AudioSource, ...] = (file, str(file), data, io.BytesIO(data))
        source = pick(random, sources)
        rate = pick(random, (16000, 8000, 24000))
        if random.random() < 0.2:
            recordings = read.open_channels(source, rate)
        else:
            channel = pick(random, ("mix", "left", "right", "loudest", 1, 2))
            recordings = (read.open_recording(source, rate, channel=channel),)  # type: ignore[arg-type]
        found = [consume(recording, rate) for recording in recordings]
        return "whole" if all(found) else "in part"


def consume(recording: read.Recording, rate: int) -> bool:
    """Read to the end; whether nothing was missing."""
    samples = 0
    for block in recording.blocks:
        assert block.dtype == np.float32 and block.ndim == 1 and len(block), "a block is empty or of another type"
        assert np.isfinite(block).all(), "samples are not numbers"
        samples += len(block)
        assert samples < MOST_SECONDS * rate, "some kilobytes became hours of sound"
    assert recording.complete or recording.warnings, "something was lost without a word"
    assert not any("\n" in line for line in recording.warnings), "a warning has several lines"
    return recording.complete


def _encoded(form: str, subtype: str | None, rate: int, channels: int) -> bytes:
    time = np.arange(rate) / rate
    tones = 0.3 * np.sin(2 * np.pi * 300 * time) + np.random.default_rng(0).normal(0, 0.01, rate)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(tones[:, None], channels, axis=1), rate, format=form, subtype=subtype)
    return file.getvalue()


def _films(scratch: Path) -> list[tuple[str, bytes]]:
    try:
        import av
    except ImportError:
        return []
    found = []
    for suffix, codec in FILMS:
        path = scratch / f"seed.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=48000)
            stream.layout = "mono"
            samples = (3000 * np.sin(np.arange(48000) / 20)).astype(np.int16)
            for start in range(0, 48000, 960):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="s16", layout="mono")
                frame.sample_rate, frame.pts = 48000, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        found.append((suffix, path.read_bytes()))
    return found
