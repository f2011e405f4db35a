"""Memory of an engine that runs clips of ever new lengths: whether it grows without end.

    python benchmarks/memory_of_lengths.py [-m BUNDLE] [--engine E] [--variant V] [--clips N] [--longest S]

Every clip has another length, from half a second to the longest. Prints the resident set of the process after some
numbers of clips.
"""

from __future__ import annotations

import os
from pathlib import Path

import _kit
import numpy as np

SHORTEST = 8000
"""Samples."""
ROWS = 16
"""Lines of the table."""


def main() -> None:
    """Print the table."""
    parser = _kit.parser(__doc__)
    _kit.add_model(parser, threads=1)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--longest", type=float, default=30.0, help="seconds (default: 30)")
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    lengths = random.choice(np.arange(SHORTEST, round(arguments.longest * _kit.RATE)), arguments.clips, replace=False)
    with _kit.open_model(arguments) as model, _kit.Output(arguments, markdown=True) as output:
        output.say(f"{model.engine}, {model.variant.name}", "", "| clips | MB |", "|---:|---:|")
        for count, length in enumerate(lengths, 1):
            model.logits([random.normal(0, 0.1, int(length)).astype(np.float32)])
            if count % max(1, arguments.clips // ROWS) == 0:
                output.say(f"| {count} | {_resident():.0f} |")


def _resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
