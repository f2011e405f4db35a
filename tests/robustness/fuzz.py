"""Damaged and hostile inputs of every kind: audio, raw, bundles, checkpoints, vocabularies, manifests, events.

    scripts/test --fuzz 30                          # so many minutes, shared among the kinds; prints the seed
    scripts/test --fuzz --count 10000 --kind audio  # so many inputs of one kind
    scripts/test --fuzz --kind audio --seed 7 --number 123   # one of them again, with its traceback

Each input runs in a child with a limit of 20 s and 1 GB. Prints one line of JSON for each kind and exits with 1 where
anything failed; what failed is kept in the folder that --keep names, with the input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

# One thread in every library: a child is forked with them loaded, and threads do not survive a fork.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

from attack import kinds, runner


def main() -> int:
    """Run the kinds that are asked for; 1 where an input failed."""
    asked = _arguments()
    seed = int.from_bytes(os.urandom(4), "little") if asked.seed is None else asked.seed
    names = asked.kind or list(kinds.NAMES)
    failed = 0
    for position, name in enumerate(names):
        seconds = asked.minutes * 60 / len(names) if asked.minutes else float("inf")
        with tempfile.TemporaryDirectory(prefix="wav2edge-fuzz-") as folder:
            report = _run(asked, name, seed, runner.Place(Path(folder)), seconds)
        failed += len(report.failures)
        print(json.dumps(report.to_json()), flush=True)
        for failure in report.failures[:5] if asked.number is None else report.failures:
            print(f"  {failure['kind']} --number {failure['number']}: {failure['what']}", file=sys.stderr)
            if asked.number is not None:
                print(failure["trace"], file=sys.stderr)
        assert position < len(names)
    return 1 if failed else 0


def _run(asked: argparse.Namespace, name: str, seed: int, place: runner.Place, seconds: float) -> runner.Report:
    place.prepare()
    kind = kinds.make(name, place.around / "cache")
    first, count = (asked.number, 1) if asked.number is not None else (asked.first, asked.count or sys.maxsize)
    until = time.monotonic() + seconds
    return runner.run(name, kind, place, seed=seed, first=first, count=count, until=until, keep=asked.keep)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, help="of all kinds together")
    parser.add_argument("--count", type=int, help="inputs of each kind instead of a time")
    parser.add_argument("--kind", action="append", choices=kinds.NAMES, help="repeat for several; all by default")
    parser.add_argument("--seed", type=int, help="by default a new one, which is printed")
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to go on from (default: 0)")
    parser.add_argument("--number", type=int, help="run this one input and show its traceback")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that failed")
    asked = parser.parse_args()
    if asked.minutes is None and asked.count is None and asked.number is None:
        parser.error("say for how many minutes, or --count")
    if asked.keep is not None:
        asked.keep = asked.keep.resolve()
    return asked


if __name__ == "__main__":
    sys.exit(main())
