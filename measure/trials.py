"""Pairs of recordings for a speaker model: those of a list, or all pairs of a manifest with named speakers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..runtime.errors import InputError
from . import manifest as manifests
from .manifest import Row, Trial

MOST = 20_000
"""The most pairs of named speakers: half of the same speaker, half of two, drawn with a fixed seed where there are
more. The interval of an EER of 10 % on 10 000 pairs of each kind is 0.6 points to either side."""


def read(source: str | Path, split: str | None = None) -> tuple[tuple[Row, ...], tuple[Trial, ...]]:
    """The recordings of a list of pairs and its pairs; or those of a manifest with ``speaker``, and no pairs.

    Raises InputError, naming the line, for what is broken, and for a split of a list, which has none.
    """
    path = Path(source)
    if not manifests.lists_pairs(path):
        return manifests.read(path, split=split, need="speaker"), ()
    if split is not None:
        raise InputError(f"{path}: a list of pairs has no splits")
    trials = manifests.read_trials(path)
    return recordings(trials, path), trials


def recordings(trials: Sequence[Trial], source: Path) -> tuple[Row, ...]:
    """Each recording of some pairs once, in order."""
    seen: dict[Path, str] = {}
    for trial in trials:
        for path in (trial.first, trial.second):
            seen.setdefault(path, trial.source)
    return tuple(Row(path, "", source.stem, where) for path, where in seen.items())


def among(rows: Sequence[Row], pairs: Sequence[Trial] = ()) -> tuple[Trial, ...]:
    """The pairs of some recordings: those of a list whose recordings are among them, else of named speakers."""
    if pairs:
        there = {row.path for row in rows}
        return tuple(pair for pair in pairs if pair.first in there and pair.second in there)
    named = list({row.path: row for row in rows if row.speaker}.values())
    same: list[Trial] = []
    different: list[Trial] = []
    for first, second in itertools.combinations(named, 2):
        is_same = first.speaker == second.speaker
        (same if is_same else different).append(Trial(first.path, second.path, is_same, first.source))
    return (*_drawn(same), *_drawn(different))


def _drawn(trials: Sequence[Trial]) -> list[Trial]:
    if len(trials) <= MOST // 2:
        return list(trials)
    chosen = np.random.default_rng(0).choice(len(trials), MOST // 2, replace=False)
    return [trials[index] for index in sorted(chosen)]
