"""Where sound comes from: a file, standard input, or (capture.py) a microphone; all say the same things.

Every source hands out 16-bit samples as float32, so that what is recorded is exactly what was decoded.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..errors import AudioError
from .backlog import Block
from .events import Dropped, SourceBack, SourceLost

Item = Block | SourceLost | SourceBack | Dropped
RATE = 16000
PIECE = RATE // 20


class Source(Protocol):
    """A stream of sound at 16 kHz."""

    def read(self, timeout: float) -> Sequence[Item] | None:
        """All that came since the last call, after at most ``timeout`` seconds; None when the stream is over."""

    def present(self) -> int | None:
        """The absolute index of the sound of this moment; None where the source has no clock."""

    def close(self) -> None:
        """Give back what the source holds."""


def on_grid(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples rounded to 16 bits, as float32 in [-1, 1)."""
    rounded: NDArray[np.float32] = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.float32)
    result: NDArray[np.float32] = rounded / np.float32(32768)
    return result


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples on the 16-bit grid as integers."""
    return (samples * 32768).astype(np.int16)


class FileSource:
    """A recording, decoded as a stream: paced in real time, or as fast as its reader (one piece a call)."""

    def __init__(self, path: str | Path, fast: bool = False) -> None:
        """Open it; raises AudioError when it cannot be read."""
        self.path = Path(path)
        self.fast = fast
        self._pieces = pieces(self.path)
        self._next = 0
        self._rest: NDArray[np.float32] | None = next(self._pieces, None)  # a bad file is found now
        self._began = time.monotonic()

    def read(self, timeout: float) -> Sequence[Item] | None:
        """The pieces that are due."""
        if self._rest is None:
            return None
        if self.fast:
            return [self._take()]
        wait = (self._next + PIECE) / RATE - (time.monotonic() - self._began)
        if wait > timeout:
            time.sleep(timeout)
            return []
        time.sleep(max(0.0, wait))
        due = self.present()
        blocks: list[Item] = []
        while self._rest is not None and (not blocks or self._next + len(self._rest) <= due):
            blocks.append(self._take())
        return blocks

    def present(self) -> int:
        """The sample that the clock has reached; with ``fast`` the one that was handed out last."""
        return self._next if self.fast else int((time.monotonic() - self._began) * RATE)

    def close(self) -> None:
        """Stop decoding."""
        self._rest = None

    def _take(self) -> Block:
        assert self._rest is not None
        block = Block(self._next, self._rest)
        self._next = block.end
        self._rest = next(self._pieces, None)
        return block


class RawSource:
    """Raw 16 kHz 16-bit little-endian mono samples from a file descriptor, such as ``ffmpeg … -f s16le -``."""

    def __init__(self, descriptor: int) -> None:
        """Read from an open descriptor."""
        self._descriptor = descriptor
        self._odd = b""
        self._next = 0

    def read(self, timeout: float) -> Sequence[Item] | None:
        """What the pipe holds, at most one second of it."""
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return []
        data = os.read(self._descriptor, 2 * PIECE)
        if not data:
            return None
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        block = Block(self._next, np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768))
        self._next = block.end
        return [block] if len(block.samples) else []

    def present(self) -> None:
        """A pipe has no clock."""
        return None

    def close(self) -> None:
        """The descriptor belongs to the caller."""


def pieces(path: Path) -> Iterator[NDArray[np.float32]]:
    """A recording as mono pieces of at most 50 ms at 16 kHz on the 16-bit grid; memory does not grow with its length.

    Raises AudioError when it cannot be read, at once or where it breaks off.
    """
    import soundfile
    import soxr

    audio.check_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            stream = soxr.ResampleStream(file.samplerate, RATE, 1, "float32") if file.samplerate != RATE else None
            rest = np.zeros(0, np.float32)
            while True:
                frames = file.read(file.samplerate, dtype="float32", always_2d=True)
                last = len(frames) == 0
                mono = frames.mean(axis=1, dtype=np.float32) if frames.shape[1] > 1 else frames[:, 0]
                if not np.isfinite(mono).all():
                    raise AudioError(f"{path}: it holds NaN or infinite samples; record or convert it again")
                if stream is not None:
                    mono = stream.resample_chunk(mono, last=last)
                rest = np.concatenate((rest, on_grid(mono)))
                while len(rest) >= PIECE or (last and len(rest)):
                    yield rest[:PIECE].copy()
                    rest = rest[PIECE:]
                if last:
                    return
    except (soundfile.LibsndfileError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise AudioError(f"{path}: not a recording that can be read ({lines[-1].rstrip('.')})") from error
