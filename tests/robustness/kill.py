"""kill -9 at random moments of the commands that write: export, quantize, build, pack, transcribe, listen, and more.

    scripts/test --kill 500                  # so many kills, shared among the commands; prints the seed
    scripts/test --kill 50 --command export  # of one command

After each kill what is on the disk is the old or the new, whole, and after the next run nothing is left over. Prints
one line of JSON for each command and exits with 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1", ORT_DISABLE_TELEMETRY="1")

import numpy as np
from attack import killing, targets

LOADED = ("torch", "transformers", "onnx", "onnxruntime", "openvino", "soxr", "soundfile", "matplotlib.pyplot", "jiwer")
"""Imported once, in the process that forks."""


def main() -> int:
    """Attack the commands that are asked for; 1 where one fails."""
    asked = _arguments()
    seed = int.from_bytes(os.urandom(4), "little") if asked.seed is None else asked.seed
    random = np.random.default_rng(seed)
    print(json.dumps({"seed": seed}), flush=True)
    for name in LOADED:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    names, failed = asked.command or [name for name in targets.TARGETS if not targets.missing(name)], 0
    for position, name in enumerate(names):
        share = asked.count // len(names) + (position < asked.count % len(names))
        with tempfile.TemporaryDirectory(prefix="wav2edge-kill-") as folder:
            outcome = killing.attack(targets.TARGETS[name], Path(folder), share, random)
        print(json.dumps(outcome.to_json()), flush=True)
        failed += len(outcome.half_written) + len(outcome.left_over)
    for name in targets.TARGETS:
        if reason := targets.missing(name):
            print(json.dumps({"command": name, "left out": reason}), flush=True)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="kills of all commands together")
    parser.add_argument("--command", action="append", choices=list(targets.TARGETS), help="repeat for several")
    parser.add_argument("--seed", type=int, help="by default a new one, which is printed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
