"""Formats of transcripts. A file in this folder is a format; its name is its CLI name.

Each offers ``SUFFIX`` (with the dot) and ``render(transcript, name, layout) -> str``; ``name`` is the recording's.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from ...errors import InputError
from ..transcript import Transcript


@dataclass(frozen=True)
class CaptionLayout:
    """How subtitles are laid out."""

    max_line_width: int = 42
    """Characters in a line, Chinese, Japanese and Korean ones as two; default 42, as subtitles on television have."""

    max_line_count: int = 2
    """Lines in a cue; default 2."""

    max_words_per_cue: int | None = None
    """Words in a cue; None: as many as fit."""

    shortest_cue: float = 1.0
    """Seconds that a cue stays when nothing follows it sooner; default 1."""


class Format(Protocol):
    """What a module of this folder offers."""

    SUFFIX: str

    def render(self, transcript: Transcript, name: str, layout: CaptionLayout) -> str:
        """The whole file, its last line ended."""


def printable(name: str) -> str:
    """A file's name as valid text: bytes of it that are not UTF-8 become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"))


def get(name: str) -> Format:
    """The format of that name; raises InputError for one that does not exist."""
    if name not in names():
        raise InputError(f"no format {name!r}; there are {', '.join(names())}")
    return cast(Format, import_module(f"{__name__}.{name}"))
