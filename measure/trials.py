"""Pairs of recordings for a speaker model: those of a list, or all pairs of a manifest with named speakers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..runtime.audio.parts import RecordingPart
from ..runtime.errors import InputError
from . import manifest as manifests
from . import trial_list
from .manifest import Row
from .trial_list import Trial

MOST = 20_000
"""The most pairs of named speakers: half of the same speaker, half of two, drawn with a fixed seed where there are
more. The interval of an EER of 10 % on 10 000 pairs of each kind is 0.6 points to either side."""


def read(source: str | Path, split: str | None = None) -> tuple[tuple[Row, ...], tuple[Trial, ...]]:
    """The recordings of a list of pairs and its pairs; or those of a manifest with ``speaker``, and no pairs.

    Raises InputError, naming the line, for what is broken, and for a split of a list, which has none.
    """
    path = Path(source)
    if not _lists_pairs(path, split):
        return manifests.read(path, split=split, need="speaker"), ()
    trials = trial_list.read(path)
    return recordings(trials, path), trials


def scan(source: str | Path, split: str | None = None) -> tuple[tuple[Row, ...], tuple[Trial, ...], tuple[str, ...]]:
    """The recordings and pairs (``read``) that can be used, and one line for each that cannot.

    Raises InputError where nothing is left, and for a split of a list.
    """
    path = Path(source)
    if not _lists_pairs(path, split):
        rows, problems = manifests.scan(path, split=split, need="speaker")
        return rows, (), problems
    trials, problems = trial_list.scan(path)
    return recordings(trials, path), trials, problems


def recordings(trials: Sequence[Trial], source: Path) -> tuple[Row, ...]:
    """Each recording of some pairs once, in order."""
    seen: dict[Path, str] = {}
    for trial in trials:
        for audio in (trial.first, trial.second):
            seen.setdefault(audio.path, trial.source)
    return tuple(Row(path, "", source.stem, where) for path, where in seen.items())


def among(rows: Sequence[Row], pairs: Sequence[Trial] = ()) -> tuple[Trial, ...]:
    """The pairs of some recordings: those of a list whose recordings are among them, else of named speakers."""
    if pairs:
        there = {row.audio for row in rows}
        return tuple(pair for pair in pairs if pair.first in there and pair.second in there)
    named = _named(rows)
    _, speakers = np.unique([str(row.speaker) for row in named.values()], return_inverse=True)
    return tuple(
        Trial(first, second, same, named[first].source)
        for same in (True, False)
        for first, second in _drawn(list(named), speakers, same)
    )


def count(rows: Sequence[Row], pairs: Sequence[Trial] = ()) -> tuple[int, int]:
    """How many pairs of the same speaker ``among`` gives, and how many of two."""
    if pairs:
        same = [pair.same for pair in among(rows, pairs)]
        return sum(same), len(same) - sum(same)
    sizes = Counter(row.speaker for row in _named(rows).values())
    alike, all_pairs = sum(map(_pairs, sizes.values())), _pairs(sizes.total())
    return min(alike, MOST // 2), min(all_pairs - alike, MOST // 2)


def fewer(rows: Sequence[Row], pairs: Sequence[Trial], limit: int) -> tuple[Row, ...]:
    """At most ``limit`` of some recordings, evenly picked: pairs of a list, at least one, half of them of each kind.

    pairs: those of a list; empty: the recordings name their speakers, and each speaker's stay together in twos, at
    least two of these. None where no two belong together.
    """
    if limit >= len(rows):
        return tuple(rows)
    kinds = _kinds(_together(rows, pairs))
    count = max(1 if pairs else 2, limit // 2)
    of_first = min(len(kinds[0]), max(count // 2, count - len(kinds[1])))
    chosen = [*_evenly(kinds[0], of_first), *_evenly(kinds[1], min(len(kinds[1]), count - of_first))]
    there = {audio for pair in chosen for audio in (pair.first, pair.second)}
    return tuple(row for row in rows if row.audio in there)


def half(rows: Sequence[Row], pairs: Sequence[Trial]) -> frozenset[Path]:
    """About half of some recordings, links resolved: those of every second pair of each kind.

    pairs: as in ``fewer``. Pairs that would make it more than half, where many share a recording, are left out.
    """
    most = len({row.path.resolve() for row in rows}) // 2
    held: set[Path] = set()
    kinds = _kinds(_together(rows, pairs))
    for pair in itertools.chain.from_iterable(itertools.zip_longest(*(kind[1::2] for kind in kinds))):
        more = set() if pair is None else {pair.first.path.resolve(), pair.second.path.resolve()} - held
        if len(held) + len(more) <= most:
            held |= more
    return frozenset(held)


def _lists_pairs(path: Path, split: str | None) -> bool:
    listed = trial_list.lists_pairs(path)
    if listed and split is not None:
        raise InputError(f"{path}: a list of pairs has no splits")
    return listed


def _together(rows: Sequence[Row], pairs: Sequence[Trial]) -> tuple[Trial, ...]:
    """The listed pairs of some recordings; without a list, each speaker's recordings in twos."""
    if pairs:
        return among(rows, pairs)
    found: list[Trial] = []
    waiting: dict[str, Row] = {}
    for row in {row.path.resolve(): row for row in rows if row.speaker}.values():
        first = waiting.pop(str(row.speaker), None)
        if first is None:
            waiting[str(row.speaker)] = row
        else:
            found.append(Trial(first.audio, row.audio, True, first.source))
    return tuple(found)


def _kinds(pairs: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The pairs of the same speaker, and those of two."""
    return [pair for pair in pairs if pair.same], [pair for pair in pairs if not pair.same]


def _evenly(pairs: Sequence[Trial], count: int) -> list[Trial]:
    return [pairs[int(index)] for index in np.linspace(0, len(pairs) - 1, count).round()]


def _named(rows: Sequence[Row]) -> dict[RecordingPart, Row]:
    """The rows that name a speaker, by their recordings, each once."""
    return {row.audio: row for row in rows if row.speaker}


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _drawn(
    audio: Sequence[RecordingPart], speakers: NDArray[np.intp], same: bool
) -> Iterator[tuple[RecordingPart, RecordingPart]]:
    """The pairs of the same speaker, or of two, in order; half of ``MOST`` where there are more.

    speakers: the number of each recording's. Pairs that are not drawn are never in memory: there are millions.
    """
    of_first = [int(np.sum((speakers[at + 1 :] == speaker) == same)) for at, speaker in enumerate(speakers)]
    ends = np.cumsum([0, *of_first])
    total, most = int(ends[-1]), MOST // 2
    chosen = np.arange(min(total, most))
    if total > most:
        chosen = np.sort(np.random.default_rng(0).choice(total, most, replace=False))
    for at, numbers in itertools.groupby(chosen, lambda number: int(np.searchsorted(ends, number, side="right")) - 1):
        seconds = at + 1 + np.flatnonzero((speakers[at + 1 :] == speakers[at]) == same)
        yield from ((audio[at], audio[seconds[number - ends[at]]]) for number in numbers)
