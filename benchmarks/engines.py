"""Every engine × variant of this machine on a base-shape model, twice, and whether the ratios repeat.

    python benchmarks/engines.py BUNDLE [--checkpoint DIR] [--seconds 10] [--once] [--limit 25]

Prints both tables, each ratio in both runs, and what the same ratios would be between medians of times. Exits 1 where a
ratio changed by more than 10 %, or where one of the usual rows is missing without a reason. The bundle is any export;
with random weights the table is about speed alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import _kit

from wav2edge.devices import detect
from wav2edge.measure.bench import plan as bench_plan
from wav2edge.measure.bench import run, table
from wav2edge.measure.bench.report import BenchReport, BenchResult
from wav2edge.runtime.bundle.read import Bundle

ALLOWED = 0.10
WANTED = (
    *("torch/fp32", "onnxruntime/fp32", "onnxruntime/int8-dynamic", "onnxruntime/int8-u8s8"),
    *("openvino/fp32", "openvino/bf16", "openvino/int8-s8s8"),
)


def main() -> int:
    """Measure twice and compare."""
    parser = _kit.parser(__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="for the rows of torch")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio (default: 10)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=int, default=50, help="enough runs for a configuration (default: 50)")
    parser.add_argument("--limit", type=float, default=25.0, help="or enough seconds of running (default: 25)")
    parser.add_argument("--all", action="store_true", help="also rows that are not usual, such as openvino/int8-u8s8")
    parser.add_argument("--once", action="store_true", help="one run, no comparison")
    arguments = parser.parse_args()
    threads = arguments.threads or detect.detect().cpu.threads
    bundle = Bundle.open(arguments.bundle)
    chosen, skipped = bench_plan.configurations([bundle], threads, checkpoints=arguments.checkpoint)
    chosen = [one for one in chosen if arguments.all or one.name in WANTED]
    plan = bench_plan.BenchPlan(
        tuple(chosen), tuple(skipped), lengths=(arguments.seconds,), runs=arguments.runs, limit=arguments.limit
    )
    with _kit.Output(arguments) as output:
        reports = []
        for _ in range(1 if arguments.once else 2):
            started = time.monotonic()
            reports.append(run.measure(plan))
            output.say(*table.text_table(reports[-1]).splitlines())
            output.say(f"this took {time.monotonic() - started:.0f} s", "")
        complete = _complete(output, reports[0])
        repeated = arguments.once or _repeat(output, reports[0], reports[1], arguments.seconds)
    return int(not (complete and repeated))


def _complete(output: _kit.Output, report: BenchReport) -> bool:
    """Whether each of the usual rows is measured, or refused with a reason."""
    known = {result.name for result in report.results} | {item.name for item in report.skipped}
    lacking = [name for name in WANTED if name not in known and name.partition("/")[0] not in known]
    if lacking:
        output.say(f"missing without a reason (does the bundle have the variant?): {', '.join(lacking)}")
    return not lacking


def _repeat(output: _kit.Output, first: BenchReport, second: BenchReport, seconds: float) -> bool:
    """Whether each ratio of the first run is that of the second, within what is allowed."""
    worst = worst_of_medians = 0.0
    output.say(f"ratio to {first.baseline:22} {'first':>8} {'second':>8} {'change':>8} {'of medians':>11}")
    for result in first.results:
        other = next((again for again in second.results if again.name == result.name), None)
        base = first.baseline_for(result)
        if other is None or base is None or result is base:
            continue
        before = first.ratio(result, base, seconds)
        after = second.ratio(other, second.baseline_for(other), seconds)
        if before is None or after is None:
            continue
        old = _of_medians(second, other, seconds) / _of_medians(first, result, seconds) - 1
        change = after / before - 1
        worst, worst_of_medians = max(worst, abs(change)), max(worst_of_medians, abs(old))
        output.say(f"{result.name:31} {before:7.2f}× {after:7.2f}× {change:+8.1%} {old:+11.1%}")
    output.say(
        f"largest change of a ratio: {worst:.1%} (allowed: {ALLOWED:.0%}); "
        f"between medians it would be {worst_of_medians:.1%}"
    )
    return worst <= ALLOWED


def _of_medians(report: BenchReport, result: BenchResult, seconds: float) -> float:
    base = report.baseline_for(result)
    theirs, ours = base.timing(seconds) if base else None, result.timing(seconds)
    assert theirs is not None and ours is not None
    return theirs.percentile(50) / ours.percentile(50)


if __name__ == "__main__":
    sys.exit(main())
