"""How long one short command takes, from the shell's view: process start, load, transcribe, exit.

    python benchmarks/startup.py [-m BUNDLE] [--engine onnxruntime openvino] [--runs 10] [AUDIO]

The yardstick is the bare import of what any client needs (``import numpy, onnxruntime, soundfile, soxr``). Commands are
run in turn, so that a noisy neighbour hits all alike; the first turn warms the file cache and is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

YARDSTICK = [sys.executable, "-c", "import numpy, onnxruntime, soundfile, soxr"]


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds of wall clock and of CPU that a command takes."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


def main() -> None:
    """Run all commands in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", nargs="?", help="recording (default: the first clip that ships)")
    parser.add_argument("-m", "--model", action="append", default=[], metavar="BUNDLE")
    parser.add_argument("--engine", nargs="+", default=["", "onnxruntime", "openvino"], help="'' is the default choice")
    parser.add_argument("--variant", default="", help="default: the engine's best")
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.audio is None:
        from wav2edge.runtime.bundle import embedded

        arguments.audio = str(sorted(embedded.clips_manifest().parent.glob("*.flac"))[0])
    commands = {"import numpy, onnxruntime, soundfile, soxr": YARDSTICK}
    for model in arguments.model or [""]:
        for engine in arguments.engine:
            command = [sys.executable, "-m", "wav2edge", "transcribe", arguments.audio]
            command += ["-m", model] if model else []
            command += ["--engine", engine] if engine else []
            command += ["--variant", arguments.variant] if arguments.variant else []
            commands[f"{Path(model).name or 'embedded'}, {engine or 'default engine'}"] = command
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(arguments.runs + 1):
        for name, command in commands.items():
            found = measure(command)
            if turn > 0:
                times[name].append(found)
    wall = {name: statistics.median(w for w, _ in found) for name, found in times.items()}
    yardstick = next(iter(wall.values()))
    print(f"{'command':<44} {'median s':>9} {'min s':>7} {'CPU s':>7} {'ratio':>6}")
    for name, found in times.items():
        fastest, cpu = min(w for w, _ in found), statistics.median(c for _, c in found)
        print(f"{name:<44} {wall[name]:9.3f} {fastest:7.3f} {cpu:7.3f} {wall[name] / yardstick:6.2f}")


if __name__ == "__main__":
    main()
