"""Configurations take short turns, each between two turns of its baseline, so that other load does not move ratios.

Other processes slow whatever runs at the same moment, by as much as half. A ratio of two medians compares different
moments; so ratios are taken from triples: the baseline's time before a turn, the turn's time, and the baseline's time
after it. ``report.Timing.ratios`` says which of them count. This module starts no processes and reads no clocks: it
gets functions to run, which return the times.

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
"""Runs, or seconds of them, before those that count: clocks rise, buffers are allocated, kernels are chosen."""
_TURN = 0.25
"""Seconds of one turn at most: short against the bursts of 1 to 9 s in tests/measure/bench/test_turns.py."""
_TURNS = 10
"""Turns at least for each configuration and length, except where runs are so slow that the time ends before."""
_FEWEST = 3
"""Runs at least, however slow: fewer have no median."""
_WARM = 0.25
"""Seconds. A configuration with shorter runs begins its turn with one that is not counted: the turns before it replaced
the content of the CPU's caches. In a longer run the difference is below the noise."""
_GAP_SHOWN, _GAP = 1.0, 3.0
"""How long others run between two turns of a baseline, in multiples of its turn, at the length that ratios are shown
for and at the others. The baseline then takes half of the time at most, and a quarter. With 2 in place of 1, simulated
bursts of 1 to 5 s moved ratios by a quarter."""
_ROUNDS = 4
"""How often every length is visited, so that a disturbed minute does not affect one length alone."""


@dataclass(eq=False)
class Contender:
    """A configuration that takes turns, and its times so far. Seconds of audio are the keys.

    baseline: the contender that it is compared with, None for none, itself for the baseline. triples: for each turn the
    baseline's time before it, its time, and the baseline's after it, medians of the turns. failure: why it was dropped.
    """

    name: str
    run: Run
    baseline: Contender | None = None
    first: dict[float, float] = field(default_factory=dict)
    times: dict[float, list[float]] = field(default_factory=dict)
    triples: dict[float, list[tuple[float, float, float]]] = field(default_factory=dict)
    failure: str | None = None


def take_turns(
    contenders: Sequence[Contender],
    lengths: Sequence[float],
    runs: int,
    limit: float,
    progress: Callable[[float, str], None] = lambda share, text: None,
    *,
    shown: float,
) -> None:
    """Measure every contender: at each length ``runs`` runs or ``limit`` seconds of running, whichever comes first.

    Never fewer than three runs. shown: the length that ratios are shown for, at which the baseline runs most often. A
    contender that fails is dropped with its reason, and the others continue. A baseline runs more often where triples
    need it.
    """
    every = [(seconds, contender) for seconds in lengths for contender in contenders]
    for number, (seconds, contender) in enumerate(every):
        progress(0.3 * number / len(every), f"burn-in {contender.name}")
        _begin(contender, seconds)
    scheduler = TurnScheduler(contenders, lengths, runs, limit, progress, shown)
    for part in range(1, _ROUNDS + 1):
        for seconds in scheduler.shuffled_lengths():
            scheduler.run(seconds, part / _ROUNDS)


def longest(contenders: int, lengths: int, limit: float) -> float:
    """About how many seconds turns take where each contender uses up its limit.

    At the shown length the baseline's turns take as much time again, at the others a third, which is rounded up for
    first runs, burn-in and warm runs.
    """
    return contenders * limit * (2.0 + 1.5 * (lengths - 1))


def _begin(contender: Contender, seconds: float) -> None:
    """The first run at a length, which is reported separately, and the burn-in."""
    contender.times[seconds], contender.triples[seconds] = [], []
    if contender.failure is not None:
        return
    try:
        contender.first[seconds] = contender.run(seconds, 1, 0.0, 0)[0]
        contender.run(seconds, BURN_IN_RUNS, BURN_IN_SECONDS, 0)
    except EngineError as error:
        contender.failure = str(error)


@dataclass(eq=False)
class BaselineClock:
    """When a baseline ran last at one length, and the turns since then that wait for its next one.

    latest: the time of its latest turn. cost: seconds of that turn in all. since: seconds that others ran after it.
    waiting: (contender, its time, the baseline's time before it).
    """

    contender: Contender
    latest: float | None = None
    cost: float = 0.0
    since: float = 0.0
    waiting: list[tuple[Contender, float, float]] = field(default_factory=list)

    def due(self, gap: float) -> bool:
        """Whether others have run for ``gap`` times the cost of its turn."""
        return self.since >= gap * self.cost

    def stale(self, gap: float) -> bool:
        """Whether its latest turn is too long ago to be the one before a new turn."""
        return self.latest is None or (not self.waiting and self.due(gap))


class TurnScheduler:
    """Chooses whose turn it is: of those with the smallest share of their runs done, one at random."""

    def __init__(
        self,
        contenders: Sequence[Contender],
        lengths: Sequence[float],
        runs: int,
        limit: float,
        progress: Callable[[float, str], None],
        shown: float,
    ) -> None:
        """See ``take_turns``."""
        self._contenders, self._lengths, self._runs, self._limit = contenders, lengths, runs, limit
        self._shown, self._progress = shown, progress
        self._chance = random.Random(1)

    def shuffled_lengths(self) -> list[float]:
        """The lengths in a random order."""
        return self._chance.sample(list(self._lengths), len(self._lengths))

    def run(self, seconds: float, until: float) -> None:
        """Run turns at one length until each contender has the share ``until`` of what it needs."""
        gap = _GAP_SHOWN if seconds == self._shown else _GAP
        baselines = [contender.baseline for contender in self._contenders if contender.baseline is not None]
        clocks = {id(baseline): BaselineClock(baseline) for baseline in baselines}
        while contender := self._next(seconds, until):
            self._paired_turn(contender, clocks, seconds, gap)
            for clock in clocks.values():
                if clock.waiting and clock.due(gap):
                    self._baseline_turn(clock, seconds, clocks)
        for clock in clocks.values():
            if clock.waiting:
                self._baseline_turn(clock, seconds, clocks)

    def _next(self, seconds: float, until: float) -> Contender | None:
        """The one with the least done; baselines only after all others, whose triples make them run anyway."""
        active = [c for c in self._contenders if c.failure is None and self._done(c, seconds) < until]
        active = [c for c in active if c.baseline is not c] or active
        return min(active, key=lambda c: (self._done(c, seconds), self._chance.random()), default=None)

    def _paired_turn(self, contender: Contender, clocks: dict[int, BaselineClock], seconds: float, gap: float) -> None:
        """A turn of a contender, after one of its baseline where that is too long ago."""
        clock = clocks.get(id(contender.baseline)) if contender.baseline is not None else None
        if clock is not None and (contender is clock.contender or clock.stale(gap)):
            self._baseline_turn(clock, seconds, clocks)
            if contender is clock.contender:
                return
        took, cost = self._turn(contender, seconds)
        for other in clocks.values():
            other.since += cost
        if took is not None and clock is not None and clock.latest is not None:
            clock.waiting.append((contender, took, clock.latest))

    def _baseline_turn(self, clock: BaselineClock, seconds: float, clocks: dict[int, BaselineClock]) -> None:
        """A turn of a baseline; it completes the triples that waited for it."""
        clock.latest, cost = self._turn(clock.contender, seconds)
        if clock.latest is not None:
            for contender, took, earlier in clock.waiting:
                contender.triples[seconds].append((earlier, took, clock.latest))
        clock.waiting.clear()
        for other in clocks.values():
            other.since += cost
        clock.cost, clock.since = cost, 0.0

    def _turn(self, contender: Contender, seconds: float) -> tuple[float | None, float]:
        """One turn: its median time, None where it failed, and what it cost in all."""
        if contender.failure is not None:
            return None, 0.0
        active = [c for c in self._contenders if not c.failure]
        shares = [min(1.0, self._done(c, length)) for c in active for length in self._lengths]
        self._progress(0.3 + 0.7 * sum(shares) / len(shares), f"{contender.name}, {seconds:g} s of audio")
        times = contender.times[seconds]
        warm = int((times[-1] if times else contender.first[seconds]) < _WARM)
        wanted = max(1, self._runs // _TURNS)
        if contender.baseline is not contender:
            wanted = min(wanted, self._runs - len(times))
        try:
            new = contender.run(seconds, wanted, min(_TURN, self._limit / _TURNS), warm)
        except EngineError as error:
            contender.failure = str(error)
            return None, 0.0
        times.extend(new)
        return statistics.median(new), sum(new) + warm * new[0]

    def _done(self, contender: Contender, seconds: float) -> float:
        """The share of its runs at a length that a contender has, by number or by time; 1 is enough."""
        times = contender.times[seconds]
        return min(max(len(times) / self._runs, sum(times) / self._limit), len(times) / min(_FEWEST, self._runs))
