"""A stretch of a file that a decoder can be handed by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..source import Segment, View

MOST_PARTS = 2000
"""Parts of a file that are decoded; each costs a decoder of its own, and a file can be made of nothing but holes."""


@dataclass(frozen=True)
class Part:
    """Bytes that are one recording, or what is whole of one between two holes."""

    segments: tuple[Segment, ...]
    """What the decoder is handed."""

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
    """What of it follows a failure of the decoder after so many samples; None where nothing does."""


@dataclass(frozen=True)
class Walked:
    """What was found of one recording."""

    parts: list[Part]
    """Its stretches, in order."""

    end: int
    """Where in the file it ends."""

    missing: tuple[str, ...] = ()
    """A line for each thing of it that cannot be decoded, beside the holes between its parts."""

    notes: tuple[str, ...] = field(default=())
    """A line for each thing of it that is left out on purpose."""
