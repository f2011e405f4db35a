"""The audio of a benchmark: speech of any length, and a manifest's recordings for word error rates."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...runtime.audio import read
from ...runtime.bundle import embedded
from ...runtime.errors import InputError, Wav2EdgeError
from .. import manifest, scoring
from .plan import BenchPlan

Item = TypeVar("Item")


def speech_of(seconds: float, rows: Sequence[manifest.Row] = (), rate: int = 16000) -> NDArray[np.float32]:
    """Speech [samples] at ``rate`` Hz: recordings of a manifest, or the clips that ship, as often as needed."""
    wanted = int(seconds * rate)
    sources = [row.audio for row in rows[:20]]
    if not sources:
        with contextlib.suppress(Wav2EdgeError, OSError):
            sources = [row.audio for row in manifest.read(embedded.clips_manifest(), need=None)]
    parts: list[NDArray[np.float32]] = []
    while sources and sum(map(len, parts)) < wanted:
        parts += [read.load(source, rate) for source in sources]
    if not parts:  # an installation without the clips: timing depends on the length alone
        parts = [(0.1 * np.random.default_rng(0).standard_normal(wanted)).astype(np.float32)]
    return np.concatenate(parts)[:wanted]


def manifest_rows(plan: BenchPlan) -> tuple[manifest.Row, ...]:
    """The recordings that WER is measured on, evenly picked; empty where the plan names no manifest.

    Raises InputError for a manifest without texts.
    """
    if plan.manifest is None:
        return ()
    rows = spread_out(manifest.read(plan.manifest), plan.clips)
    if not any(scoring.normalize(row.text) for row in rows):
        which = "" if plan.clips is None else f" of the {len(rows)} that --clips picks"
        raise InputError(f"{plan.manifest}: no row{which} has a text with words, so there is no WER to measure")
    return rows


def spread_out(items: Sequence[Item], count: int | None) -> tuple[Item, ...]:
    """So many of them, evenly picked; None: all."""
    if count is None or count >= len(items):
        return tuple(items)
    step = len(items) / count
    return tuple(items[int(number * step)] for number in range(count))
