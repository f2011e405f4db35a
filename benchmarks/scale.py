"""From the measured cost of an hour of sound to a million hours: machines, money, and what limits it.

    python benchmarks/scale.py --docs docs/figures/scale.md [--base] [--price 0.04] [--hours 1000000]

Measures what a second of sound and a recording cost one process (`transcribe --manifest`), simulates a fleet with these
costs, and checks the simulation against two shards that run at the same time on this machine. Then it simulates fleets
for the hours asked for: recordings of mixed length, workers that are lost, storage and a driver of bounded speed.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from _kit import RATE, Output, add_model, command_options, parser, sound

from wav2edge.runtime.bundle import embedded

_BLOCKS = 60  # for each worker, that a simulation goes through


@dataclass(frozen=True)
class Costs:
    """What one process takes: to start, for each recording, and for each second of sound; all in seconds."""

    start: float
    recording: float
    second: float


@dataclass(frozen=True)
class Fleet:
    """Many processes and what they share."""

    workers: int
    costs: Costs
    block: int = 8
    """Recordings that a worker is handed at once."""
    lost_per_hour: float = 0.0
    """Losses of a worker in an hour; what it had begun of a block is done again, and it starts again."""
    storage: float = 1e9
    """Bytes that storage gives in a second, to all workers."""
    bytes_per_second: float = 16_000.0
    """Of recordings, for each second of sound; FLAC at 16 kHz."""
    driver: float = 1000.0
    """Blocks that a driver hands out in a second."""


def simulated(fleet: Fleet, lengths: Sequence[float], seed: int = 7) -> tuple[float, float]:
    """The time until everything is done, and the sum of the workers' time; s. lengths: of the recordings, s.

    A worker takes the next block when it is free; handing out and reading are queues of their own.
    """
    chance, costs = random.Random(seed), fleet.costs
    free = [(costs.start, number) for number in range(fleet.workers)]
    heapq.heapify(free)
    handed = read = busy = 0.0
    for at in range(0, len(lengths), fleet.block):
        block = lengths[at : at + fleet.block]
        now, number = heapq.heappop(free)
        handed = max(handed, now) + 1 / fleet.driver
        # Workers read ahead while they compute: a block waits for storage only where storage is what limits the fleet.
        read = max(read, now) + sum(block) * fleet.bytes_per_second / fleet.storage
        work = len(block) * costs.recording + sum(block) * costs.second
        ends = max(handed, now) + work
        while chance.random() < fleet.lost_per_hour * work / 3600:
            ends += chance.random() * work / len(block) + costs.start
        ends = max(ends, read)
        busy += ends - now
        heapq.heappush(free, (ends, number))
    return max(end for end, _ in free), busy + fleet.workers * costs.start


def recordings(folder: Path, lengths: Sequence[float]) -> Path:
    """A corpus of real speech in recordings of these lengths; its manifest."""
    folder.mkdir()
    speech = sound((), sum(lengths))
    names, at = [], 0
    for number, seconds in enumerate(lengths):
        end = at + round(seconds * RATE)
        soundfile.write(folder / f"{number:04}.flac", speech[at:end], RATE)
        names.append(f"{number:04}.flac")
        at = end
    manifest = folder / "corpus.jsonl"
    manifest.write_text("".join(json.dumps({"path": name}) + "\n" for name in names))
    return manifest


def shards(arguments: argparse.Namespace, manifest: Path, count: int) -> tuple[float, float]:
    """Seconds and CPU-seconds that a corpus takes as shards at the same time, each a process with one thread."""
    output = manifest.parent / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = command_options(arguments, "model", "engine", "variant")
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "wav2edge", "transcribe", "--manifest", str(manifest), "--threads", "1",
             "-f", "json", "-o", str(output), "--shard", f"{number + 1}/{count}", *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for number in range(count)
    ]  # fmt: skip
    for process in running:
        if process.wait() != 0:
            raise SystemExit("a shard failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent


def measured(arguments: argparse.Namespace, folder: Path, scale: float) -> Costs:
    """The costs of one process, from three corpora: one recording, many short ones, few long ones.

    They are CPU-seconds, which other work on the machine does not lengthen much.
    """
    sets = {"one": [1.0], "short": [2.0] * round(100 * scale), "long": [60.0] * max(1, round(10 * scale))}
    taken = {name: shards(arguments, recordings(folder / name, lengths), 1)[1] for name, lengths in sets.items()}
    rows = np.array([[1.0, len(lengths), sum(lengths)] for lengths in sets.values()])
    start, recording, second = np.linalg.solve(rows, np.array([taken[name] for name in sets]))
    return Costs(max(0.0, float(start)), max(0.0, float(recording)), max(0.0, float(second)))


def mixed(count: int, seed: int, longest: float = 3600.0) -> list[float]:
    """Lengths as corpora have them: log-normal about a minute, s."""
    drawn = np.random.default_rng(seed).lognormal(np.log(60.0), 1.0, count)
    return [float(value) for value in np.clip(drawn, 1.0, longest)]


def fleets(output: Output, name: str, costs: Costs, hours: float, price: float) -> None:
    """What a number of hours takes on fleets of several sizes."""
    mean = float(np.mean(mixed(20_000, 1)))
    per_hour = costs.second * 3600 + costs.recording * 3600 / mean
    output.say(f"**{name}**: an hour of sound takes {per_hour:.0f} CPU-seconds ({costs.second * 1000:.2f} ms a second, "
               f"{costs.recording * 1000:.1f} ms a recording; {costs.start:.1f} s to start).",
               "", "| CPUs | days | CPU-hours | money | days with a loss of each CPU a day | read, MB/s |",
               "|---|---|---|---|---|---|")  # fmt: skip
    for workers in (100, 1000, 10_000):
        fleet = Fleet(workers, costs)
        lengths = mixed(workers * fleet.block * _BLOCKS, workers)  # a part, which stands for the whole
        share = hours * 3600 / sum(lengths)

        def days(made: Fleet, lengths: list[float] = lengths, share: float = share) -> tuple[float, float]:
            wall, busy = simulated(made, lengths)
            return ((wall - costs.start) * share + costs.start) / 86400, busy * share / 3600

        taken, spent = days(fleet)
        lossy, _ = days(replace(fleet, lost_per_hour=1 / 24))
        rate = hours * 3600 * fleet.bytes_per_second / (taken * 86400) / 1e6
        output.say(f"| {workers} | {taken:.2f} | {spent:,.0f} | {spent * price:,.0f} | {lossy:.2f} | {rate:,.0f} |")
    output.say("")


def main() -> None:
    """Measure, check, and simulate."""
    made = parser(__doc__)
    add_model(made)
    made.add_argument("--price", type=float, default=0.04, metavar="X", help="of a CPU-hour, in money (default: 0.04)")
    made.add_argument("--hours", type=float, default=1e6, metavar="H", help="of sound (default: 10⁶)")
    made.add_argument("--base", action="store_true", help="a base shape in INT8 as well; needs [export,calibrate]")
    made.add_argument("--scale", type=float, default=1.0, metavar="X", help="size of what is measured (default: 1)")
    arguments = made.parse_args()
    with Output(arguments, markdown=True) as output, tempfile.TemporaryDirectory() as folder:
        costs = measured(arguments, Path(folder), arguments.scale)
        lengths = mixed(round(60 * arguments.scale), 3, longest=120.0)
        manifest = recordings(Path(folder) / "mixed", lengths)
        wall, spent = shards(arguments, manifest, 2)
        expected, busy = simulated(Fleet(2, costs, block=1), lengths)
        output.say(f"Checked: {len(lengths)} recordings ({sum(lengths) / 60:.0f} min) as two shards took {spent:.1f} "
                   f"CPU-seconds in {wall:.1f} s; the simulation says {busy:.1f} ({busy / spent:.2f} of it) in "
                   f"{expected:.1f} s ({expected / wall:.2f} of it).", "",
                   f"Simulated: {arguments.hours:,.0f} hours, recordings of a minute (median), {arguments.price:g} a "
                   "CPU-hour, an assumption to be replaced by your own price.", "")  # fmt: skip
        fleets(output, f"Embedded demo model ({embedded.bundle_path().name})" if arguments.model is None else
               Path(arguments.model).name, costs, arguments.hours, arguments.price)  # fmt: skip
        if arguments.base:
            import _shapes

            arguments.model, arguments.variant = str(_shapes.bundle("base", "layer", ("int8-u8s8",)).path), "int8-u8s8"
            (Path(folder) / "base").mkdir()
            costs = measured(arguments, Path(folder) / "base", arguments.scale / 5)
            fleets(output, "Base shape (94 M parameters), INT8", costs, arguments.hours, arguments.price)


if __name__ == "__main__":
    main()
