"""Whose turn it is: cells take short turns, each between two turns of its baseline.

A machine is never alone for long: a neighbour's burst slows whatever runs just then, by as much as half. So a ratio
is not taken between two medians, which may come from different moments, but from trios: the baseline's time before a
turn, the turn's own, and the baseline's after it. ``bench_report.Timing.ratios`` says which of them count. Nothing
here knows of processes or clocks: what runs is given, and time is what it reports.

Randomly interleaved and paired trials: https://github.com/google/benchmark/blob/main/docs/random_interleaving.md and
Kalibera, Jones: Rigorous benchmarking in reasonable time (ISMM 2013).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...runtime.errors import EngineError

Run = Callable[[float, int, float, int], Sequence[float]]
"""``run(seconds of audio, runs, limit, warm)``: the times of up to ``runs`` runs, no more once they took ``limit``
seconds, after ``warm`` runs that are not reported. Raises EngineError."""

BURN_IN_RUNS, BURN_IN_SECONDS = 5, 1.0
_TURN = 0.25
"""Seconds of one turn at most: short against a neighbour's bursts."""
_TURNS = 10
"""Turns at least for each cell and length, but for runs so slow that there is no time for as many."""
_FEWEST = 3
"""Runs at least, however slow: fewer have no median."""
_WARM = 0.25
"""A cell whose runs are shorter begins its turn with one that is not counted: the cells before it emptied the CPU's
caches, which in its own process they would not. In a longer run that is lost in the noise."""
_CLOSE, _WIDE = 1.0, 3.0
"""What runs between two turns of a baseline, in multiples of its turn, at the length that ratios are shown for and at
the others. The baseline then takes half of the time at most, and a quarter. With 2 in place of 1, simulated bursts of
1 to 5 s moved ratios by a quarter."""
_ROUNDS = 4
"""Every length is visited so often, so that a bad minute does not fall on one length alone."""


@dataclass(eq=False)
class Seat:
    """A cell that takes turns, and what it gave so far. Seconds of audio are the keys.

    baseline: the cell that it is held against, None for none, itself for the baseline. trios: for each turn the
    baseline's time before it, its own, and the baseline's after it, medians of the turns. failure: why it left.
    """

    name: str
    run: Run
    baseline: Seat | None = None
    first: dict[float, float] = field(default_factory=dict)
    times: dict[float, list[float]] = field(default_factory=dict)
    trios: dict[float, list[tuple[float, float, float]]] = field(default_factory=dict)
    failure: str | None = None


def take_turns(
    seats: Sequence[Seat],
    lengths: Sequence[float],
    runs: int,
    limit: float,
    progress: Callable[[float, str], None] = lambda share, text: None,
    *,
    shown: float,
) -> None:
    """Fill every seat: at each length ``runs`` runs or ``limit`` seconds of running, whichever comes first.

    Never fewer than three runs. shown: the length that ratios are shown for, at which the baseline runs most often. A
    seat that fails leaves with its reason, and the others go on. A baseline is filled further where more trios need it.
    """
    for number, (seconds, seat) in enumerate((seconds, seat) for seconds in lengths for seat in seats):
        progress(0.3 * number / (len(lengths) * len(seats)), f"burn-in {seat.name}")
        _begin(seat, seconds)
    race = _Race(seats, lengths, runs, limit, progress, shown)
    for part in range(1, _ROUNDS + 1):
        for seconds in race.shuffled_lengths():
            race.run(seconds, part / _ROUNDS)


def longest(seats: int, lengths: int, limit: float) -> float:
    """About how many seconds turns take where every seat uses up its limit; those of the baseline and warm runs too."""
    return seats * limit * (2.0 + 1.5 * (lengths - 1))


def _begin(seat: Seat, seconds: float) -> None:
    """The first run at a length, which is reported for itself, and the burn-in."""
    seat.times[seconds], seat.trios[seconds] = [], []
    if seat.failure is not None:
        return
    try:
        seat.first[seconds] = seat.run(seconds, 1, 0.0, 0)[0]
        seat.run(seconds, BURN_IN_RUNS, BURN_IN_SECONDS, 0)
    except EngineError as error:
        seat.failure = str(error)


@dataclass(eq=False)
class _Pace:
    """A baseline on the move at one length: its latest turn, and what ran since and waits for the next."""

    seat: Seat
    latest: float | None = None
    cost: float = 0.0
    since: float = 0.0
    waiting: list[tuple[Seat, float, float]] = field(default_factory=list)


class _Race:
    """Turns at one length after the other, in an order that chance decides among those who are furthest behind."""

    def __init__(
        self,
        seats: Sequence[Seat],
        lengths: Sequence[float],
        runs: int,
        limit: float,
        progress: Callable[[float, str], None],
        shown: float,
    ) -> None:
        self._seats, self._lengths, self._runs, self._limit, self._shown = seats, lengths, runs, limit, shown
        self._progress = progress
        self._chance = random.Random(1)

    def shuffled_lengths(self) -> list[float]:
        return self._chance.sample(list(self._lengths), len(self._lengths))

    def run(self, seconds: float, until: float) -> None:
        """Let everybody run at one length until each has the share ``until`` of what it needs."""
        gap = _CLOSE if seconds == self._shown else _WIDE
        paces = {id(seat.baseline): _Pace(seat.baseline) for seat in self._seats if seat.baseline is not None}
        while seat := self._next(seconds, until):
            pace = paces.get(id(seat.baseline)) if seat.baseline is not None else None
            if pace is not None and (seat is pace.seat or _stale(pace, gap)):
                self._lead(pace, seconds, list(paces.values()))
                if seat is pace.seat:
                    continue
            took, cost = self._turn(seat, seconds)
            for other in paces.values():
                other.since += cost
            if took is not None and pace is not None and pace.latest is not None:
                pace.waiting.append((seat, took, pace.latest))
            for other in paces.values():
                if other.waiting and other.since >= gap * other.cost:
                    self._lead(other, seconds, list(paces.values()))
        for pace in paces.values():
            if pace.waiting:
                self._lead(pace, seconds, list(paces.values()))

    def _next(self, seconds: float, until: float) -> Seat | None:
        """The one furthest behind; baselines only when all others are done, since trios make them run anyway."""
        behind = [s for s in self._seats if s.failure is None and self._done(s, seconds) < until]
        behind = [s for s in behind if s.baseline is not s] or behind
        return min(behind, key=lambda s: (self._done(s, seconds), self._chance.random()), default=None)

    def _lead(self, pace: _Pace, seconds: float, paces: Sequence[_Pace]) -> None:
        """A turn of a baseline; it closes the trios that waited for it."""
        pace.latest, cost = self._turn(pace.seat, seconds)
        if pace.latest is not None:
            for seat, took, earlier in pace.waiting:
                seat.trios[seconds].append((earlier, took, pace.latest))
        pace.waiting.clear()
        for other in paces:
            other.since += cost
        pace.cost, pace.since = cost, 0.0

    def _turn(self, seat: Seat, seconds: float) -> tuple[float | None, float]:
        """One turn: its median time, None where it failed, and what it cost in all."""
        if seat.failure is not None:
            return None, 0.0
        shares = [min(1.0, self._done(s, length)) for s in self._seats for length in self._lengths if not s.failure]
        self._progress(0.3 + 0.7 * sum(shares) / len(shares), f"{seat.name}, {seconds:g} s of audio")
        times = seat.times[seconds]
        warm = int((times[-1] if times else seat.first[seconds]) < _WARM)
        wanted = max(1, self._runs // _TURNS)
        if seat.baseline is not seat:
            wanted = min(wanted, self._runs - len(times))
        try:
            new = seat.run(seconds, wanted, min(_TURN, self._limit / _TURNS), warm)
        except EngineError as error:
            seat.failure = str(error)
            return None, 0.0
        times.extend(new)
        return statistics.median(new), sum(new) + warm * new[0]

    def _done(self, seat: Seat, seconds: float) -> float:
        times = seat.times[seconds]
        return min(max(len(times) / self._runs, sum(times) / self._limit), len(times) / min(_FEWEST, self._runs))


def _stale(pace: _Pace, gap: float) -> bool:
    return pace.latest is None or (not pace.waiting and pace.since >= gap * pace.cost)
