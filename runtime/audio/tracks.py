"""What every reader of recordings returns: a track of pieces, and the problems found while it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_WARNINGS = 10
"""Lines about one recording, at most."""

BREAKS_OFF = 0.5
"""Seconds that may be missing from what a header announces: MP3 and Ogg headers are not exact to the sample."""

LONGEST_GAP = 600.0
"""Longest hole, in seconds, that is filled with silence so that what follows keeps its time. Without a bound a forged
header could demand any length."""


class Piece(NamedTuple):
    """Decoded samples float32 [samples, channels] and their rate in Hz, which may change from piece to piece."""

    rate: int
    samples: NDArray[np.float32]


@dataclass
class Problems:
    """What went wrong while a recording was read; it grows until its end."""

    complete: bool = True
    """Whether all of the recording was decoded."""

    losses: list[str] = field(default_factory=list)
    """A line for each piece that is missing, without the recording's name; one at least where it is not complete."""

    notes: list[str] = field(default_factory=list)
    """A line for each other problem."""

    @property
    def lines(self) -> list[str]:
        """A line for each problem, the losses first: the first says why it is not complete."""
        return [*self.losses, *self.notes][:MOST_WARNINGS]

    def note(self, line: str) -> None:
        """Something that the user should know, though nothing is missing."""
        _add(self.notes, line)

    def lost(self, line: str) -> None:
        """Some of the recording is missing."""
        self.complete = False
        _add(self.losses, line)


def _add(lines: list[str], line: str) -> None:
    if line not in lines and len(lines) < MOST_WARNINGS:
        lines.append(line)


@dataclass(frozen=True)
class Track:
    """A recording that can be decoded, more than once.

    rate: Hz. channels: how many. seconds: its length as its header announces it, None where it does not.
    pieces: decodes it from its beginning, and notes what went wrong. pieces_from: the same from a second on, None where
    no decoder can go there without what is before.
    """

    rate: int
    channels: int
    seconds: float | None
    pieces: Callable[[Problems], Iterator[Piece]]
    pieces_from: Callable[[Problems, float], Iterator[Piece]] | None = None
