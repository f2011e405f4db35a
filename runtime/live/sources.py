"""Where sound comes from: a file, a pipe, or (capture.py) a microphone, all with the same items.

Every source gives 16-bit samples as float32, so that a recording of them is exactly what was decoded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..audio import read as audio
from ..audio.arrays import checked_samples
from ..audio.channels import Channel
from ..audio.raw import RawFormat
from ..errors import AudioError
from .backlog import Block
from .events import Dropped, SourceBack, SourceLost

Item = Block | SourceLost | SourceBack | Dropped
RATE = 16000
PIECE = RATE // 20


class LiveSource(Protocol):
    """A stream of sound at 16 kHz."""

    def read(self, timeout: float) -> Sequence[Item] | None:
        """All items since the last call, after at most ``timeout`` seconds; None when the stream is over.

        Raises AudioError where the stream turns out to be damaged.
        """

    def present(self) -> int | None:
        """The absolute index of the sound of this moment; None where the source has no clock."""

    def close(self) -> None:
        """Release the source's device or file."""


def on_grid(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples rounded to 16 bits, as float32 in [-1, 1)."""
    rounded: NDArray[np.float32] = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.float32)
    result: NDArray[np.float32] = rounded / np.float32(32768)
    return result


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples on the 16-bit grid as integers; louder ones are clipped."""
    return np.clip(samples * 32768, -32768, 32767).astype(np.int16)


class Clock:
    """The machine's clock."""

    def now(self) -> float:
        """Monotonic time, s."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class SkippingClock(Clock):
    """A clock that jumps instead of waiting: computing takes its real time, waiting takes none.

    Times measured with it are those of a run in real time, which takes longer.
    """

    def __init__(self) -> None:
        """Begin with the machine's time."""
        self._skipped = 0.0

    def now(self) -> float:
        """The machine's time and all that was skipped."""
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        """Skip."""
        self._skipped += seconds


class PiecesSource:
    """Pieces of sound, each given once it has been played: at a clock's pace, or without a clock at the reader's.

    An AudioError that the pieces raise is raised by ``read`` after all pieces before it were given.
    """

    def __init__(self, pieces: Iterator[NDArray[np.float32]], clock: Clock | None) -> None:
        """Take the first piece, so that bad input is found now."""
        self._pieces = pieces
        self._next = 0
        self._rest: NDArray[np.float32] | None = next(pieces, None)
        self._error: AudioError | None = None
        self._clock = clock
        self._began = clock.now() if clock is not None else 0.0

    def read(self, timeout: float) -> Sequence[Item] | None:
        """The pieces that are due; without a clock one of them."""
        if self._rest is None:
            if self._error is not None:
                raise self._error
            return None
        if self._clock is None:
            return [self._take(self._rest)]
        wait = (self._next + len(self._rest)) / RATE - (self._clock.now() - self._began)
        self._clock.sleep(min(max(0.0, wait), timeout))
        due = self.present()
        blocks: list[Item] = []
        while self._rest is not None and self._next + len(self._rest) <= due + 1:
            blocks.append(self._take(self._rest))
        return blocks

    def present(self) -> int:
        """The sample that the clock has reached; without a clock the one after the last given."""
        return self._next if self._clock is None else int((self._clock.now() - self._began) * RATE)

    def close(self) -> None:
        """Stop."""
        self._rest = None

    def _take(self, samples: NDArray[np.float32]) -> Block:
        block = Block(self._next, samples)
        self._next = block.end
        try:
            self._rest = next(self._pieces, None)
        except AudioError as error:
            self._rest, self._error = None, error
        return block


class FileSource(PiecesSource):
    """A recording, decoded as a stream: paced in real time, or ``fast``: as fast as its reader."""

    def __init__(
        self, path: str | Path, fast: bool = False, *, channel: Channel = "mix", raw: RawFormat | None = None
    ) -> None:
        """Open it; channel, raw: as of ``audio.read.open_recording``. Raises AudioError when it cannot be read."""
        self._recording = audio.open_recording(path, RATE, channel=channel, raw=raw)
        super().__init__(pieces(audio.whole_blocks(self._recording), str(path)), None if fast else Clock())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful in it, as far as it was read, such as channels that cancel each other."""
        return self._recording.warnings


def pieces(blocks: Iterable[NDArray[np.float32]], name: str = "the sound") -> Iterator[NDArray[np.float32]]:
    """Blocks [samples] at 16 kHz as pieces of 50 ms on the 16-bit grid, the last one shorter.

    Louder floats than [-1, 1] stay as they are: clipping them would change what is said. An AudioError of the blocks is
    raised after the samples before it; floats far outside [-1, 1] raise one too.
    """
    rest, damage = np.zeros(0, np.float32), None
    try:
        for block in blocks:
            loud = float(np.abs(checked_samples(block, name)).max(initial=0.0)) > 1
            rest = np.concatenate((rest, block if loud else on_grid(block)))
            whole = len(rest) // PIECE * PIECE
            yield from (rest[at : at + PIECE].copy() for at in range(0, whole, PIECE))
            rest = rest[whole:].copy()
    except AudioError as error:
        damage = error
    if len(rest):
        yield rest
    if damage is not None:
        raise damage
