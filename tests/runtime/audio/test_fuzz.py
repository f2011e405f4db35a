"""Whatever bytes or arrays come in: samples or one AudioError, in bounded time and memory. Seeds are fixed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wav2edge.runtime.audio import read
from wav2edge.runtime.audio.raw import RawFormat
from wav2edge.runtime.errors import AudioError, InputError

ROUNDS = int(os.environ.get("WAV2EDGE_FUZZ", "12"))
"""Mutations of each kind; more for a long run."""

KINDS: list[tuple[str, str | None, int]] = [
    ("MP3", None, 44100),
    ("OGG", "VORBIS", 16000),
    ("OGG", "OPUS", 16000),
    ("FLAC", "PCM_16", 16000),
    ("WAV", "PCM_16", 16000),
    ("WAV", "FLOAT", 16000),
    ("RF64", "PCM_16", 16000),
    ("AIFF", "PCM_16", 16000),
    ("AU", "PCM_16", 16000),
    ("CAF", "PCM_16", 16000),
    ("W64", "PCM_16", 16000),
]


def mutated(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """A file as disks, networks and people damage it."""
    held = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        if len(held) < 2:
            break
        start, end = sorted(int(place) for place in random.integers(0, len(held), 2))
        head = int(random.integers(0, min(200, len(held))))
        way = int(random.integers(0, 8))
        if way == 0:
            held[head] = int(random.integers(0, 256))
        elif way == 1:
            held[head : head + 4] = random.bytes(4)
        elif way == 2:
            held[head : head + 4] = b"\xff" * 4
        elif way == 3:
            held = held[:end]
        elif way == 4:
            del held[start:end]
        elif way == 5:
            held[start:end] = random.bytes(end - start)
        elif way == 6:
            held[start:end] = bytes(end - start)
        else:
            held[start:start] = other[:end]
    return bytes(held)


def outcome(source: Any, **named: Any) -> str:
    """What became of it; everything but an AudioError is raised."""
    started = time.process_time()
    try:
        recording = read.open_recording(source, 16000, **named)
        seconds = 0.0
        for block in recording.blocks:
            assert block.dtype == np.float32 and block.ndim == 1 and len(block)
            seconds += len(block) / 16000
            assert seconds < 7200, "a few seconds of sound became hours"
        assert recording.complete or recording.warnings
        words = "whole" if recording.complete else "in part"
    except AudioError as error:
        words = str(error)
    assert "\n" not in words and words
    assert time.process_time() - started < 20
    return words


@pytest.mark.parametrize("kind", KINDS, ids=["-".join(map(str, kind)) for kind in KINDS])
def test_damaged_files(encode: Callable[..., bytes], kind: tuple[str, str | None, int]) -> None:
    random = np.random.default_rng(sum(map(ord, str(kind))))
    whole = encode(*kind, seconds=2.0)
    other = encode("OGG", "OPUS", seconds=1.0)
    found = [outcome(mutated(whole, other, random)) for _ in range(ROUNDS)]
    assert outcome(whole) == "whole" and any(words in ("whole", "in part") for words in found)


SIGNATURES = (
    b"",
    b"RIFF\xff\xff\xff\xffWAVE",
    b"fLaC\0\0\0\x22",
    b"OggS\0\x02",
    b"ID3\x04\0\0",
    b"\xff\xfb\x90\xc4",
    b"caff\0\1\0\0",
    b"FORM\0\0\0\0AIFF",
    b".snd",
    b"\0\0\0\x20ftypM4A ",
    b"\x1a\x45\xdf\xa3",
    b"riff\x2e\x91\xcf\x11",
    b"#!AMR\n",
)


@pytest.mark.parametrize("signature", SIGNATURES, ids=range(len(SIGNATURES)))
def test_noise_behind_a_signature(signature: bytes) -> None:
    random = np.random.default_rng(len(signature))
    for _ in range(ROUNDS):
        outcome(signature + random.bytes(int(random.integers(1, 20000))))


NUMBERS = arrays.scalar_dtypes() | arrays.byte_string_dtypes(max_len=4) | arrays.unicode_string_dtypes(max_len=4)

HARMFUL = {
    "erased memory as MP3": b"\xff\xfb\x90\xc4" + b"\xff" * 3_000_000,
    "beginnings of Ogg pages": (b"OggS\0" + bytes(21) + b"\xff") * 100_000,
    "beginnings of FLAC files": (b"fLaC\x80\0\0\x22" + bytes(34)) * 60_000,
    "beginnings of WAV files": (b"RIFF\0\0\0\0WAVEdata\0\0\0\0") * 100_000,
    "pairs of MP3 frames and holes": (b"\xff\xfb\x10\xc4" + bytes(100)) * 2 + b"hole",
    "tags alone": b"ID3\x04\0\0\0\0\0\0" * 300_000,
    "sync words of FLAC": b"fLaC\x80\0\0\x22" + bytes(34) + b"\xff\xf8" * 500_000,
    "erased memory as AAC": b"\xff\xf1\x50\x80" + b"\xff" * 3_000_000,
}


@pytest.mark.parametrize("name", HARMFUL)
def test_files_that_are_made_to_keep_a_parser_busy(name: str) -> None:
    """Each step over such bytes searched or summed up what follows anew: minutes for megabytes."""
    data = HARMFUL[name]
    outcome(data * (20_000 if len(data) < 1000 else 1))


VALUES = st.floats() | st.integers() | st.text(max_size=3) | st.binary()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.one_of(
        arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, max_dims=3, max_side=60)),
        arrays.arrays(st.sampled_from(["f4", "i2", "u1"]), arrays.array_shapes(min_dims=1, max_dims=2, max_side=2000)),
        st.lists(
            st.one_of(st.floats(), st.integers(), st.text(max_size=3), st.lists(st.floats(), max_size=3)), max_size=50
        ),
        st.dictionaries(
            st.sampled_from(["array", "bytes", "path", "sampling_rate"]), st.binary() | st.integers() | st.none()
        ),
        st.binary(max_size=300),
        st.text(max_size=30),
        st.integers() | st.none() | st.booleans(),
    ),
    st.one_of(st.none(), st.integers(), st.floats(), st.sampled_from([8000, 16000, 44100])),
    st.one_of(st.sampled_from(["mix", "left", "right", "loudest", "each", "2"]), st.integers(-2, 5), st.none()),
)
def test_anything_at_all(source: Any, rate: Any, channel: Any) -> None:
    if not isinstance(source, int) or isinstance(source, bool):
        outcome(source, sample_rate=rate, channel=channel)
    with pytest.raises(AudioError):
        read.open_recording(5, sample_rate=rate, channel=channel)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.binary(max_size=2000),
    st.sampled_from(["s16le", "f32le", "mulaw", "alaw", "s24", ""]),
    st.integers(-1, 2_000_000),
    st.integers(-1, 40),
)
def test_any_raw_bytes(data: bytes, encoding: Any, rate: int, channels: int) -> None:
    try:
        raw = RawFormat(encoding, rate, channels)
    except InputError as error:
        assert "\n" not in str(error)
        return
    outcome(data, raw=raw)
