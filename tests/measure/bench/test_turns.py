"""Ratios are taken turn by turn, and stay where they are when other load comes and goes."""

from __future__ import annotations

import bisect
import itertools
import random
import statistics
from collections.abc import Callable, Sequence

import pytest

from wav2edge.measure.bench import turns as bench_turns
from wav2edge.measure.bench.report import Timing
from wav2edge.measure.bench.turns import Contender
from wav2edge.runtime.errors import EngineError

COSTS = {"torch": 0.9, "fp32": 0.43, "dynamic": 0.31, "u8s8": 0.28, "s8s8": 0.145}
"""Seconds for 10 s of audio, of the configurations of a real table."""


class Machine:
    """A machine whose time is what its contenders ran for; ``load(now)`` is how much slower other load makes it."""

    def __init__(self, load: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self.load = 0.0, load
        self.ran: list[str] = []

    def contender(self, name: str, cost: float) -> Contender:
        def run(seconds: float, runs: int, limit: float, warm: int) -> Sequence[float]:
            self.ran.append(name)
            times: list[float] = []
            for number in range(runs + warm):
                if number > warm and sum(times) >= limit:
                    break
                took = cost * seconds / 10 * self.load(self.now)
                self.now += took
                if number >= warm:
                    times.append(took)
            return times

        return Contender(name, run)

    def measure(self, lengths: Sequence[float] = (10.0,), runs: int = 50, limit: float = 10.0) -> dict[str, Contender]:
        contenders = {name: self.contender(name, cost) for name, cost in COSTS.items()}
        for contender in contenders.values():
            contender.baseline = contenders["torch"]
        bench_turns.take_turns(list(contenders.values()), lengths, runs, limit, shown=10.0)
        return contenders


def bursts(seed: int) -> Callable[[float], float]:
    """Other load that slows everything by a third to twice, for 3 to 9 s, and is gone for 2 to 7 s."""
    chance = random.Random(seed)
    edges, factors = [0.0], [1.0]
    while edges[-1] < 2000:
        edges.append(edges[-1] + (chance.uniform(3, 9) if factors[-1] > 1 else chance.uniform(2, 7)))
        factors.append(1.0 if factors[-1] > 1 else chance.uniform(1.3, 2.0))

    return lambda now: factors[bisect.bisect_right(edges, now) - 1]


def ratios(contender: Contender, seconds: float = 10.0) -> tuple[float, ...]:
    return Timing(seconds, 0.0, tuple(contender.times[seconds]), tuple(contender.triples[seconds])).ratios


def paired(contenders: dict[str, Contender], name: str) -> float:
    return statistics.median(ratios(contenders[name]))


def by_medians(contenders: dict[str, Contender], name: str) -> float:
    return statistics.median(contenders["torch"].times[10.0]) / statistics.median(contenders[name].times[10.0])


def test_load_that_comes_and_goes_does_not_move_ratios() -> None:
    """Two runs of the base-shape table once differed by 21 % in a ratio of medians, on a machine with other load."""
    runs = [Machine(bursts(seed)).measure() for seed in range(6)]
    others = [name for name in COSTS if name != "torch"]
    for name in others:
        true = COSTS["torch"] / COSTS[name]
        for contenders in runs:
            assert paired(contenders, name) == pytest.approx(true, rel=0.04)
    spread = max(
        abs(by_medians(one, name) / by_medians(other, name) - 1)
        for one, other in itertools.permutations(runs, 2)
        for name in others
    )
    assert spread > 0.10, "the load is too light to show what triples are for"


def test_each_turn_is_between_two_of_the_baseline() -> None:
    machine = Machine()
    contenders = machine.measure()
    last = len(machine.ran) - 1 - machine.ran[::-1].index("torch")
    begun = 2 * len(COSTS)  # first runs and burn-in
    assert machine.ran[begun] == "torch"
    assert last == len(machine.ran) - 1
    for name, contender in contenders.items():
        turns = machine.ran[begun:].count(name)
        assert len(contender.triples[10.0]) == (turns if name != "torch" else 0)
        assert turns >= 10


def test_every_configuration_gets_its_runs_or_its_seconds_and_the_baseline_no_more_than_it_must() -> None:
    contenders = Machine().measure(lengths=(1.0, 10.0))
    for name, contender in contenders.items():
        for times in contender.times.values():
            assert len(times) >= 50 or sum(times) >= 10.0
            if name != "torch":
                assert len(times) <= 50 and sum(times) <= 10.0 + 0.5
    for seconds, share in ((1.0, 0.5), (10.0, 0.6)):
        all_of_it = sum(sum(contender.times[seconds]) for contender in contenders.values())
        assert sum(contenders["torch"].times[seconds]) < share * all_of_it


def test_even_the_slowest_runs_three_times() -> None:
    """Ten seconds of a board that needs six for a run were two runs, and their median nothing."""
    contenders = Machine(lambda now: 20.0).measure()
    assert len(contenders["fp32"].times[10.0]) == 3
    assert len(contenders["fp32"].triples[10.0]) == 3


def test_none_is_done_long_before_the_others() -> None:
    """Configurations that stop early would have been measured under other load than those that go on."""
    machine = Machine()
    machine.measure()
    tail = machine.ran[-len(machine.ran) // 5 :]
    assert set(tail) == set(COSTS)


def test_lengths_are_visited_in_turn_so_that_a_bad_minute_hits_all() -> None:
    machine = Machine()
    contenders = machine.measure(lengths=(1.0, 5.0, 10.0))
    assert all(contender.triples[1.0] for name, contender in contenders.items() if name != "torch")
    one_bad_part = Machine(lambda now: 2.0 if machine.now * 0.4 < now < machine.now * 0.6 else 1.0)
    contenders = one_bad_part.measure(lengths=(1.0, 5.0, 10.0))
    for seconds in (1.0, 5.0, 10.0):
        assert statistics.median(contenders["fp32"].times[seconds]) == pytest.approx(0.43 * seconds / 10, rel=0.01)


def failing_after(contender: Contender, runs: int) -> None:
    ran, left = contender.run, iter(range(runs))

    def run(seconds: float, runs: int, limit: float, warm: int) -> Sequence[float]:
        if next(left, None) is None:
            raise EngineError("out of memory")
        return ran(seconds, runs, limit, warm)

    contender.run = run


def measured_while_one_fails(index: int, after: int) -> list[Contender]:
    """The baseline and another configuration, one of which fails after so many of its turns."""
    machine = Machine()
    contenders = [machine.contender("fp32", 0.4), machine.contender("int8", 0.2)]
    for contender in contenders:
        contender.baseline = contenders[0]
    failing_after(contenders[index], after)
    bench_turns.take_turns(contenders, (10.0,), 20, 5.0, shown=10.0)
    return contenders


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_a_configuration_that_fails_leaves_and_the_others_go_on(after: int) -> None:
    contenders = measured_while_one_fails(1, after)
    assert contenders[1].failure == "out of memory"
    assert contenders[0].failure is None
    assert len(contenders[0].times[10.0]) >= 12


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_without_its_baseline_a_configuration_is_measured_all_the_same(after: int) -> None:
    contenders = measured_while_one_fails(0, after)
    assert contenders[0].failure == "out of memory"
    assert len(contenders[1].times[10.0]) == 20
    assert len(contenders[1].triples[10.0]) < 10


def test_two_bundles_have_a_baseline_each() -> None:
    machine = Machine()
    contenders = [machine.contender(name, cost) for name, cost in (("a", 0.4), ("a8", 0.2), ("b", 0.1), ("b8", 0.02))]
    for contender, baseline in zip(contenders, (0, 0, 2, 2)):
        contender.baseline = contenders[baseline]
    bench_turns.take_turns(contenders, (10.0,), 20, 5.0, shown=10.0)
    assert statistics.median(ratios(contenders[1])) == pytest.approx(2.0)
    assert statistics.median(ratios(contenders[3])) == pytest.approx(5.0)


def test_progress_rises_to_the_end() -> None:
    seen: list[float] = []
    machine = Machine()
    contenders = [machine.contender("fp32", 0.4), machine.contender("int8", 0.2)]
    bench_turns.take_turns(contenders, (1.0, 10.0), 20, 5.0, lambda share, text: seen.append(share), shown=10.0)
    assert seen == sorted(seen)
    assert 0.9 < seen[-1] <= 1.0
