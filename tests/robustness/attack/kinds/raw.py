"""Samples on the wire: raw bytes of any form, WAV headers that arrive in pieces, arrays of any kind."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from numpy.random import Generator

from wav2edge.runtime.audio import named, read
from wav2edge.runtime.audio.raw import RawFormat
from wav2edge.runtime.live.pipe import PipeSource

from ..mutation import NUMBERS, damaged, pick, value
from .audio import consume

TYPES = ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "?", "c8", "O", ">i2", ">f4", "U3", "S2")


class Inputs:
    """Bytes and arrays; a file holds the bytes of each."""

    def __init__(self, scratch: Path) -> None:
        """A name may lead to a pipe that no program writes into: wait for one for a moment alone."""
        named.PIPE_WAIT = 0.1

    def __call__(self, random: Generator, folder: Path) -> str:
        """Read bytes as raw samples, through a pipe in pieces, or take an array."""
        way = int(random.integers(3))
        if way == 0:
            return self._array(random)
        data = _bytes(random)
        (folder / "input.raw").write_bytes(data)
        raw = None if random.random() < 0.4 else _format(random)
        if way == 1:
            recording = read.open_recording(data, raw=raw or RawFormat(), channel=pick(random, ("mix", 1, "loudest")))
            return "whole" if consume(recording, 16000) else "in part"
        return _piped(random, data, raw)

    def _array(self, random: Generator) -> str:
        sides = random.integers(0, pick(random, (3, 40, 900)), int(random.integers(0, 3)))
        values = random.normal(0, pick(random, (0.1, 1, 100, 1e30)), tuple(int(side) for side in sides))
        with np.errstate(all="ignore"):
            array = values.astype(pick(random, TYPES))
        if array.size and array.dtype.kind == "f" and random.random() < 0.3:
            array.flat[int(random.integers(array.size))] = pick(random, (np.nan, np.inf, -np.inf, 17.0))
        given: object = array
        if random.random() < 0.3:
            row = {"array": array, "sampling_rate": pick(random, NUMBERS)}
            given = pick(random, (array.tolist(), row, value(random)))
        rate = pick(random, (None, 16000, 8000, 44100, *NUMBERS))
        return "whole" if consume(read.open_recording(given, sample_rate=rate), 16000) else "in part"  # type: ignore[arg-type]


def _bytes(random: Generator) -> bytes:
    samples = (random.normal(0, 0.1, int(random.integers(0, 9000))) * 32767).astype("<i2").tobytes()
    if random.random() < 0.5:
        return damaged(random, samples, b"RIFF") if random.random() < 0.5 else samples
    tag, bits, rate = pick(random, ((1, 16), (3, 32), (6, 8), (7, 8), (1, 24), (0xFFFE, 16))), 0, 0
    channels, rate = int(random.integers(0, 4)), pick(random, (16000, 8000, 44100, 0, 1, 2**31))
    kind, bits = tag
    head = struct.pack(
        "<HHIIHH", kind, channels, rate, (rate * channels * bits // 8) % 2**32, channels * bits // 8, bits
    )
    size = pick(random, (len(samples), 0, 0xFFFFFFFF, 7))
    data = b"RIFF" + struct.pack("<I", pick(random, (36 + len(samples), 0xFFFFFFFF))) + b"WAVEfmt "
    data += struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size) + samples
    return damaged(random, data) if random.random() < 0.5 else data


def _format(random: Generator) -> RawFormat:
    encoding = pick(random, ("s16le", "f32le", "mulaw", "alaw", "s24", ""))
    rate = pick(random, (8000, 16000, 44100, 1000, *NUMBERS))
    return RawFormat(encoding, rate, pick(random, (1, 2, 3, 32, *NUMBERS)))  # type: ignore[arg-type]


def _piped(random: Generator, data: bytes, raw: RawFormat | None) -> str:
    reading, writing = os.pipe()
    try:
        source, left, next_sample = PipeSource(reading, raw), data[:60_000], 0
        while True:
            size = int(random.integers(1, pick(random, (3, 100, 20_000))))
            if left:
                os.write(writing, left[:size])
                left = left[size:]
            elif writing >= 0:
                os.close(writing)
                writing = -1
            items = source.read(0.0)
            if items is None:
                return "whole"
            for block in items:
                assert block.start == next_sample and np.isfinite(block.samples).all()  # type: ignore[union-attr]
                next_sample = block.end  # type: ignore[union-attr]
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
