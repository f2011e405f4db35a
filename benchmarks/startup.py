"""The time of starting: importing the package, showing the help, and one short command from start to exit.

    python benchmarks/startup.py [-m BUNDLE] [--engine onnxruntime openvino] [--runs 10] [AUDIO]

Three ratios, each against the least possible time for the same, all measured in one run:

* ``import wav2edge`` and ``wav2edge --help`` against a Python that does nothing;
* transcribing one recording of about 5 s against the bare imports of what any client needs
  (``import numpy, onnxruntime, soundfile, soxr``); allowed for this machine's choice of engine: 2.5 times.

Above them, what ``python -X importtime -c "import wav2edge"`` loads: the largest modules, and those among them that
should be imported on use (allowed: none). Commands take turns, so that other load on the machine slows all alike; the
first turn, which is not counted, warms the file cache and writes compiled modules to a separate folder, as in an
installed package. Below them, the time from an imported engine to a bundle that is ready to run, with the cache that
the run before left (--base: a base shape of random weights too); allowed: 0.5 s. Exits 1 above what is allowed.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import _kit

from wav2edge.runtime.bundle import embedded

PYTHON = "python -c pass"
IMPORTS = "import numpy, onnxruntime, soundfile, soxr"
ALLOWED_TRANSCRIBE = 2.5
ALLOWED_LOAD = 0.5  # s
LOAD = """
import sys, time
from wav2edge.devices.open import open_model
from wav2edge.runtime.engines import library
bundle, engine, variant = sys.argv[1:]
library(engine)
started = time.perf_counter()
open_model(bundle, engine, variant or None).prepare()
print(time.perf_counter() - started)
"""
BEST = {"onnxruntime": "int8-u8s8", "openvino": "int8-s8s8"}
"""The variant to load of each engine."""
HEAVY = ("numpy", "onnxruntime", "openvino", "torch", "transformers", "onnx", "soundfile", "soxr", "click", "rich")
"""Libraries that ``import wav2edge`` leaves to be imported on use."""


@dataclass(frozen=True)
class Command:
    """A command to time, and the name of the one that its time is divided by."""

    name: str
    words: Sequence[str]
    against: str


def measure(words: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of wall clock and of CPU that a command takes."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=environment)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


def imported(statement: str) -> list[tuple[int, str]]:
    """The modules that a statement imports, by their own microseconds, largest first (``python -X importtime``)."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], capture_output=True, text=True, check=True
    )
    rows = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr)
    return sorted(((int(own), name) for own, name in rows), reverse=True)


def commands(model: str | None, engines: Sequence[str], variant: str | None, audio: str) -> list[Command]:
    """Everything that is timed, the two measures of ratios first."""
    wav2edge = [sys.executable, "-m", "wav2edge"]
    chosen = [
        Command(PYTHON, [sys.executable, "-c", "pass"], PYTHON),
        Command(IMPORTS, [sys.executable, "-c", IMPORTS], IMPORTS),
        Command("import wav2edge", [sys.executable, "-c", "import wav2edge"], PYTHON),
        Command("wav2edge --help", [*wav2edge, "--help"], PYTHON),
    ]
    for engine in engines:
        words = [*wav2edge, "transcribe", audio, *(["-m", model] if model else [])]
        words += ["--engine", engine] if engine else []
        words += ["--variant", variant] if variant else []
        name = f"transcribe, {Path(model).name if model else 'embedded'}, {engine or 'default engine'}"
        chosen.append(Command(name, words, IMPORTS))
    return chosen


def main() -> int:
    """Run all commands in turn and print the table; 1 above what is allowed."""
    parser = _kit.parser(__doc__)
    parser.add_argument("audio", nargs="?", help="recording (default: the clip that ships whose length is nearest 5 s)")
    parser.add_argument("-m", "--model", metavar="BUNDLE", help="bundle (default: the embedded demo model)")
    parser.add_argument("--engine", nargs="+", default=["", "onnxruntime", "openvino"], help="'' is the default choice")
    parser.add_argument("--variant", help="variant (default: the engine's best)")
    parser.add_argument("--runs", type=int, default=10, help="turns that count (default: 10)")
    parser.add_argument("--base", action="store_true", help="load a base shape too; needs [export,calibrate]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _kit.Output(arguments) as output:
        light = imports(output)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        chosen = commands(arguments.model, arguments.engine, arguments.variant, arguments.audio or nearest(5.0))
        times: dict[str, list[tuple[float, float]]] = {command.name: [] for command in chosen}
        for turn in range(arguments.runs + 1):
            for command in chosen:
                taken = measure(command.words, environment)
                if turn > 0:
                    times[command.name].append(taken)
        within = table(output, chosen, times)
        quick = loading(output, arguments, environment)
        return int(not (within and light and quick))


def imports(output: _kit.Output) -> bool:
    """Show what importing the package loads; whether nothing heavy is among it."""
    before = {name for _, name in imported("pass")}
    modules = [(own, name) for own, name in imported("import wav2edge") if name not in before]
    heavy = [name for _, name in modules if name.partition(".")[0] in HEAVY]
    total = sum(own for own, _ in modules)
    largest = ", ".join(f"{name} {own / 1e3:.1f} ms" for own, name in modules[:3])
    output.say(f"import wav2edge loads {len(modules)} modules in {total / 1e3:.1f} ms; the largest: {largest}")
    output.say(f"heavy ones among them: {', '.join(heavy) or 'none'}", "")
    return not heavy


def table(output: _kit.Output, chosen: Sequence[Command], times: dict[str, list[tuple[float, float]]]) -> bool:
    """Print each command's times and ratio; whether every ratio is within what is allowed."""
    within = True
    output.say(f"{'command':<46} {'median s':>9} {'min s':>7} {'CPU s':>7} {'ratio':>6}  against")
    for command in chosen:
        wall = [seconds for seconds, _ in times[command.name]]
        cpu = statistics.median(seconds for _, seconds in times[command.name])
        turns = zip(wall, (seconds for seconds, _ in times[command.against]))
        ratio = statistics.median(own / other for own, other in turns)
        limited = command.name.startswith("transcribe") and command.name.endswith("default engine")
        within &= not limited or ratio <= ALLOWED_TRANSCRIBE
        limit = f" (allowed: {ALLOWED_TRANSCRIBE:g})" if limited else ""
        output.say(
            f"{command.name:<46} {statistics.median(wall):9.3f} {min(wall):7.3f} {cpu:7.3f} {ratio:6.2f}  "
            f"{command.against}{limit}"
        )
    return within


def loading(output: _kit.Output, arguments: argparse.Namespace, environment: Mapping[str, str]) -> bool:
    """Print the time of loading cached bundles; whether each is within what is allowed."""
    bundles = {"embedded": embedded.bundle_path()} if arguments.model is None else {"-m": Path(arguments.model)}
    if arguments.base:
        import _shapes

        bundles |= {f"base, {norm} norm": _shapes.bundle("base", norm).path for norm in get_args(_shapes.Norm)}
    within = True
    output.say("", f"{'loading a cached bundle':<46} {'median s':>9} {'min s':>7}")
    for name, path in bundles.items():
        for engine in (engine for engine in arguments.engine if engine):
            words = [sys.executable, "-c", LOAD, str(path), engine, arguments.variant or BEST.get(engine, "")]
            runs = [
                float(subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout)
                for _ in range(arguments.runs + 1)
            ][1:]
            within &= statistics.median(runs) <= ALLOWED_LOAD
            title = f"{name}, {engine}"
            output.say(f"{title:<46} {statistics.median(runs):9.3f} {min(runs):7.3f}  (allowed: {ALLOWED_LOAD:g})")
    return within


def nearest(seconds: float) -> str:
    """The clip that ships whose length is nearest."""
    import soundfile

    clips = sorted(embedded.clips_manifest().parent.glob("*.flac"))
    return str(min(clips, key=lambda path: abs(soundfile.info(path).duration - seconds)))


if __name__ == "__main__":
    sys.exit(main())
