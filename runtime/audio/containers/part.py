"""A stretch of a file that is decoded alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..source import Segment, View

MOST_PARTS = 2000
"""Parts of a file that are decoded, at most; each opens another decoder, and a crafted file can have a hole in every
frame."""


@dataclass(frozen=True)
class Part:
    """Bytes that are one recording, or what is whole of one between two holes."""

    segments: tuple[Segment, ...]
    """The bytes that the decoder gets."""

    announced: int | None = None
    """Samples of each channel that its header promises; None where it does not say, or cannot be trusted."""

    damage: str | None = None
    """What is wrong between the part before and this one, in words; None where nothing is."""

    cut: bool = False
    """Whether the file ends, or the next recording begins, before this one is over."""

    ends_at: float | None = None
    """The second of its recording at which it ends, where its container counts them."""

    begins_at: float | None = None
    """The second of its recording at which it begins, where its container says that."""

    continues: bool = False
    """Whether it is of the same recording as the part before."""

    resume: Callable[[View, int], Part | None] | None = None
    """The part that follows a failure of the decoder, given the samples before it; None where nothing follows."""


@dataclass(frozen=True)
class Parsed:
    """The structure of one recording."""

    parts: list[Part]
    """Its stretches, in order."""

    end: int
    """Where in the file it ends."""

    missing: tuple[str, ...] = ()
    """One line for each piece that cannot be decoded, the holes between its parts left out."""

    notes: tuple[str, ...] = field(default=())
    """One line for each piece that is left out on purpose."""
