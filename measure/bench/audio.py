"""The audio of a benchmark: speech of any length, and a manifest's recordings for word error rates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...runtime.audio import read
from ...runtime.audio.parts import RecordingPart
from ...runtime.bundle import embedded
from ...runtime.errors import AudioError, InputError, Wav2EdgeError
from .. import manifest, scoring
from .plan import BenchPlan

Item = TypeVar("Item")

_MOST = 20
"""Recordings at most that speech is made of."""


def speech_of(seconds: float, rows: Sequence[manifest.Row] = (), rate: int = 16000) -> NDArray[np.float32]:
    """Speech [samples] at ``rate`` Hz: recordings of a manifest, or the clips that ship, as often as needed.

    Recordings that cannot be read are left out; where none can be, the clips that ship are used.
    """
    wanted = int(seconds * rate)
    parts = _readable((row.audio for row in rows), rate, wanted)
    if not parts:
        with contextlib.suppress(Wav2EdgeError, OSError):
            shipped = manifest.read(embedded.clips_manifest(), need=None)
            parts = _readable((row.audio for row in shipped), rate, wanted)
    if not parts:  # an installation without the clips: timing depends on the length alone
        parts = [(0.1 * np.random.default_rng(0).standard_normal(wanted)).astype(np.float32)]
    return np.resize(np.concatenate(parts), wanted)


def _readable(sources: Iterable[RecordingPart], rate: int, wanted: int) -> list[NDArray[np.float32]]:
    """The samples of recordings that can be read, until there are ``wanted`` of them."""
    parts: list[NDArray[np.float32]] = []
    for source in sources:
        with contextlib.suppress(AudioError):
            parts.append(read.load(source, rate))
        if len(parts) == _MOST or sum(map(len, parts)) >= wanted:
            break
    return parts


def manifest_rows(plan: BenchPlan) -> tuple[tuple[manifest.Row, ...], tuple[str, ...]]:
    """The recordings that WER is measured on, evenly picked, and a line for each row that cannot be used.

    Both are empty where the plan names no manifest. Raises InputError for a manifest without texts, and for one of
    which no row can be used.
    """
    if plan.manifest is None:
        return (), ()
    usable, broken = manifest.scan(plan.manifest)
    rows = spread_out(usable, plan.clips)
    if not any(scoring.normalize(row.text) for row in rows):
        which = "" if plan.clips is None else f" of the {len(rows)} that --clips picks"
        raise InputError(f"{plan.manifest}: no row{which} has a text with words, so there is no WER to measure")
    return rows, broken


def spread_out(items: Sequence[Item], count: int | None) -> tuple[Item, ...]:
    """So many of them, evenly picked; None: all."""
    if count is None or count >= len(items):
        return tuple(items)
    step = len(items) / count
    return tuple(items[int(number * step)] for number in range(count))
