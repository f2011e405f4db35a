"""Ratios are taken turn by turn, and stay where they are when a neighbour comes and goes."""

from __future__ import annotations

import bisect
import itertools
import random
import statistics
from collections.abc import Callable, Sequence

import pytest

from wav2edge.measure.bench import turns as bench_turns
from wav2edge.measure.bench.report import Timing
from wav2edge.measure.bench.turns import Seat
from wav2edge.runtime.errors import EngineError

COSTS = {"torch": 0.9, "fp32": 0.43, "dynamic": 0.31, "u8s8": 0.28, "s8s8": 0.145}
"""Seconds for 10 s of audio, of the cells of a real table."""


class Machine:
    """A machine whose time is what its cells ran for; ``neighbour(now)`` is how much slower everything is just then."""

    def __init__(self, neighbour: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self.neighbour = 0.0, neighbour
        self.ran: list[str] = []

    def seat(self, name: str, cost: float) -> Seat:
        def run(seconds: float, runs: int, limit: float, warm: int) -> Sequence[float]:
            self.ran.append(name)
            times: list[float] = []
            for number in range(runs + warm):
                if number > warm and sum(times) >= limit:
                    break
                took = cost * seconds / 10 * self.neighbour(self.now)
                self.now += took
                if number >= warm:
                    times.append(took)
            return times

        return Seat(name, run)

    def measure(self, lengths: Sequence[float] = (10.0,), runs: int = 50, limit: float = 10.0) -> dict[str, Seat]:
        seats = {name: self.seat(name, cost) for name, cost in COSTS.items()}
        for seat in seats.values():
            seat.baseline = seats["torch"]
        bench_turns.take_turns(list(seats.values()), lengths, runs, limit, shown=10.0)
        return seats


def bursts(seed: int) -> Callable[[float], float]:
    """A neighbour that slows everything by a third to twice, for 3 to 9 s, and is gone for 2 to 7 s."""
    chance = random.Random(seed)
    edges, factors = [0.0], [1.0]
    while edges[-1] < 2000:
        edges.append(edges[-1] + (chance.uniform(3, 9) if factors[-1] > 1 else chance.uniform(2, 7)))
        factors.append(1.0 if factors[-1] > 1 else chance.uniform(1.3, 2.0))

    return lambda now: factors[bisect.bisect_right(edges, now) - 1]


def ratios(seat: Seat, seconds: float = 10.0) -> tuple[float, ...]:
    return Timing(seconds, 0.0, tuple(seat.times[seconds]), tuple(seat.trios[seconds])).ratios


def paired(seats: dict[str, Seat], name: str) -> float:
    return statistics.median(ratios(seats[name]))


def by_medians(seats: dict[str, Seat], name: str) -> float:
    return statistics.median(seats["torch"].times[10.0]) / statistics.median(seats[name].times[10.0])


def test_a_neighbour_that_comes_and_goes_does_not_move_ratios() -> None:
    """Two runs of the base-shape table once differed by 21 % in a ratio of medians, on a machine with neighbours."""
    runs = [Machine(bursts(seed)).measure() for seed in range(6)]
    others = [name for name in COSTS if name != "torch"]
    for name in others:
        true = COSTS["torch"] / COSTS[name]
        for seats in runs:
            assert paired(seats, name) == pytest.approx(true, rel=0.04)
    spread = max(
        abs(by_medians(one, name) / by_medians(other, name) - 1)
        for one, other in itertools.permutations(runs, 2)
        for name in others
    )
    assert spread > 0.10, "the neighbour is too kind to show what trios are for"


def test_each_turn_lies_between_two_of_the_baseline() -> None:
    machine = Machine()
    seats = machine.measure()
    last = len(machine.ran) - 1 - machine.ran[::-1].index("torch")
    begun = 2 * len(COSTS)  # first runs and burn-in
    assert machine.ran[begun] == "torch"
    assert last == len(machine.ran) - 1
    for name, seat in seats.items():
        turns = machine.ran[begun:].count(name)
        assert len(seat.trios[10.0]) == (turns if name != "torch" else 0)
        assert turns >= 10


def test_every_cell_gets_its_runs_or_its_seconds_and_the_baseline_no_more_than_it_must() -> None:
    seats = Machine().measure(lengths=(1.0, 10.0))
    for name, seat in seats.items():
        for times in seat.times.values():
            assert len(times) >= 50 or sum(times) >= 10.0
            if name != "torch":
                assert len(times) <= 50 and sum(times) <= 10.0 + 0.5
    for seconds, share in ((1.0, 0.5), (10.0, 0.6)):
        all_of_it = sum(sum(seat.times[seconds]) for seat in seats.values())
        assert sum(seats["torch"].times[seconds]) < share * all_of_it


def test_even_the_slowest_runs_three_times() -> None:
    """Ten seconds of a board that needs six for a run were two runs, and their median nothing."""
    seats = Machine(lambda now: 20.0).measure()
    assert len(seats["fp32"].times[10.0]) == 3
    assert len(seats["fp32"].trios[10.0]) == 3


def test_nobody_is_done_long_before_the_others() -> None:
    """Cells that stop early would have seen another machine than those that go on."""
    machine = Machine()
    machine.measure()
    tail = machine.ran[-len(machine.ran) // 5 :]
    assert set(tail) == set(COSTS)


def test_lengths_are_visited_in_turn_so_that_a_bad_minute_hits_all() -> None:
    machine = Machine()
    seats = machine.measure(lengths=(1.0, 5.0, 10.0))
    assert all(seat.trios[1.0] for name, seat in seats.items() if name != "torch")
    one_bad_part = Machine(lambda now: 2.0 if machine.now * 0.4 < now < machine.now * 0.6 else 1.0)
    seats = one_bad_part.measure(lengths=(1.0, 5.0, 10.0))
    for seconds in (1.0, 5.0, 10.0):
        assert statistics.median(seats["fp32"].times[seconds]) == pytest.approx(0.43 * seconds / 10, rel=0.01)


def failing_after(seat: Seat, runs: int) -> None:
    ran, left = seat.run, iter(range(runs))

    def run(seconds: float, runs: int, limit: float, warm: int) -> Sequence[float]:
        if next(left, None) is None:
            raise EngineError("out of memory")
        return ran(seconds, runs, limit, warm)

    seat.run = run


def measured_while_one_fails(index: int, after: int) -> list[Seat]:
    """The baseline and another cell, one of which fails after so many of its turns."""
    machine = Machine()
    seats = [machine.seat("fp32", 0.4), machine.seat("int8", 0.2)]
    for seat in seats:
        seat.baseline = seats[0]
    failing_after(seats[index], after)
    bench_turns.take_turns(seats, (10.0,), 20, 5.0, shown=10.0)
    return seats


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_a_cell_that_fails_leaves_and_the_others_go_on(after: int) -> None:
    seats = measured_while_one_fails(1, after)
    assert seats[1].failure == "out of memory"
    assert seats[0].failure is None
    assert len(seats[0].times[10.0]) >= 12


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_without_its_baseline_a_cell_is_measured_all_the_same(after: int) -> None:
    seats = measured_while_one_fails(0, after)
    assert seats[0].failure == "out of memory"
    assert len(seats[1].times[10.0]) == 20
    assert len(seats[1].trios[10.0]) < 10


def test_two_bundles_have_a_baseline_each() -> None:
    machine = Machine()
    seats = [machine.seat(name, cost) for name, cost in (("a", 0.4), ("a8", 0.2), ("b", 0.1), ("b8", 0.02))]
    for seat, baseline in zip(seats, (0, 0, 2, 2)):
        seat.baseline = seats[baseline]
    bench_turns.take_turns(seats, (10.0,), 20, 5.0, shown=10.0)
    assert statistics.median(ratios(seats[1])) == pytest.approx(2.0)
    assert statistics.median(ratios(seats[3])) == pytest.approx(5.0)


def test_progress_rises_to_the_end() -> None:
    seen: list[float] = []
    machine = Machine()
    seats = [machine.seat("fp32", 0.4), machine.seat("int8", 0.2)]
    bench_turns.take_turns(seats, (1.0, 10.0), 20, 5.0, lambda share, text: seen.append(share), shown=10.0)
    assert seen == sorted(seen)
    assert 0.9 < seen[-1] <= 1.0
