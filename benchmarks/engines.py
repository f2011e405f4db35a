"""Every engine × variant of this machine on a base-shape model, twice, and whether the ratios repeat.

    python benchmarks/engines.py BUNDLE [--checkpoint DIR] [--seconds 10] [--once]

Prints both tables and the largest change of a ratio between the two runs; exits 1 where it is above 10 %.
The bundle is any export; with random weights the table is about speed alone. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wav2edge.devices import bench, bench_plan, bench_report, bench_table, detect
from wav2edge.runtime.bundle import Bundle

ALLOWED = 0.10


def main() -> int:
    """Measure twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--once", action="store_true", help="one run, no comparison")
    arguments = parser.parse_args()
    threads = arguments.threads or detect.detect().cpu.threads
    cells, skipped = bench_plan.cells([Bundle.open(arguments.bundle)], threads, checkpoints=arguments.checkpoint)
    plan = bench_plan.Plan(tuple(cells), tuple(skipped), lengths=(arguments.seconds,))
    reports = []
    for _ in range(1 if arguments.once else 2):
        reports.append(bench.measure(plan))
        print(bench_table.text_table(reports[-1]), end="\n\n", flush=True)
    return 0 if arguments.once else _repeats(reports[0], reports[1], arguments.seconds)


def _repeats(first: bench_report.Report, second: bench_report.Report, seconds: float) -> int:
    worst = 0.0
    for cell in first.cells:
        other = next(again for again in second.cells if again.name == cell.name)
        before = first.ratio(cell, first.baseline_for(cell), seconds)
        after = second.ratio(other, second.baseline_for(other), seconds)
        if before is None or after is None:
            continue
        change = after / before - 1
        worst = max(worst, abs(change))
        print(f"{cell.name:32} {before:5.2f}× {after:5.2f}× {change:+.1%}")
    print(f"largest change of a ratio: {worst:.1%} (allowed: {ALLOWED:.0%})")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
