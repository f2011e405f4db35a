"""What all benchmarks share: arguments, output with date and machine, and speech to run on."""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from wav2edge.devices import open as devices_open
from wav2edge.devices.detect import detect
from wav2edge.measure import manifest
from wav2edge.runtime import files
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import MANIFEST, Bundle
from wav2edge.runtime.model import Model

RATE = 16000
"""Hz, which every model of the family takes."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A script's parser: its docstring as the help text, and ``--docs`` for the file that documentation includes."""
    summary, _, rest = (doc or "").partition("\n")
    made = argparse.ArgumentParser(
        description=summary, epilog=rest.strip("\n"), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--docs", metavar="FILE.md", type=Path, help="write the output as a figure of the documentation")
    return made


def add_model(made: argparse.ArgumentParser, *, threads: int | None = None) -> None:
    """``-m``, ``--engine``, ``--variant`` and ``--threads``; those left out are chosen as ``wav2edge`` would."""
    made.add_argument("-m", "--model", metavar="BUNDLE", help="bundle (default: the embedded demo model)")
    made.add_argument("--engine", help="engine (default: this machine's choice)")
    made.add_argument("--variant", help="variant (default: this machine's choice)")
    shown = "this machine's choice" if threads is None else str(threads)
    made.add_argument("--threads", type=int, default=threads, help=f"CPU threads (default: {shown})")


def open_model(arguments: argparse.Namespace) -> Model:
    """The model that the options of ``add_model`` name."""
    chosen = arguments.model, arguments.engine, arguments.variant
    return devices_open.open_model(*chosen, threads=arguments.threads)


def command_options(arguments: argparse.Namespace, *names: str) -> list[str]:
    """The given ones of the options ``model``, ``engine``, ``variant``, ``threads``, as arguments for ``wav2edge``."""
    return [
        word
        for name in names
        if (value := getattr(arguments, name)) is not None
        for word in ("-m" if name == "model" else f"--{name}", str(value))
    ]


class Output:
    """Prints lines and, where ``--docs`` names a file, writes them there at the end; the first says when and where.

    Use it as a context manager: the file is written only where the benchmark ends without an error. ``markdown`` says
    that the lines are Markdown; otherwise they are written as preformatted text.
    """

    def __init__(self, arguments: argparse.Namespace, *, markdown: bool = False) -> None:
        """Print the date, the machine and the command."""
        self._path: Path | None = arguments.docs
        self._markdown = markdown
        self._lines: list[str] = []
        self._heading = f"Measured on {datetime.date.today().isoformat()} on {machine()}, by"
        print(f"{self._heading} {command()}\n", flush=True)

    def say(self, *lines: str) -> None:
        """Print lines, an empty one where there are none."""
        for line in lines or ("",):
            self._lines.append(line)
            print(line, flush=True)

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._path is not None and (kind is None or kind is SystemExit):
            body = self._lines if self._markdown else ["```", *self._lines, "```"]
            files.write_whole(self._path, "\n".join([f"*{self._heading} `{command()}`.*", "", *body, ""]))


def machine() -> str:
    """The processor and the GPU of this machine, in words."""
    here = detect()
    traits = ", ".join(here.cpu.features) or "no extensions that matter"
    gpu = f", {here.nvidia.name}" if here.nvidia else ""
    return f"{here.model or here.cpu.name} ({here.cpu.architecture}; {traits}), {here.cpu.threads} threads{gpu}"


def command() -> str:
    """The command that is running, without the folders of its arguments and without ``--docs``."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    if "--docs" in words:
        place = words.index("--docs")
        del words[place : place + 2]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def sound(paths: Iterable[str | Path], seconds: float) -> NDArray[np.float32]:
    """Recordings [samples] at 16 kHz one after the other, repeated as often as needed.

    paths: empty takes the LibriSpeech clips that ship with the package.
    """
    chosen = [Path(path) for path in paths] or sorted(embedded.clips_manifest().parent.glob("librispeech*"))
    once = np.concatenate([read.load(path, RATE) for path in chosen])
    return np.resize(once, round(seconds * RATE))


def in_turns(calls: Sequence[Callable[[], object]], turns: int, rest: float) -> NDArray[np.float64]:
    """Wall and processor seconds of each call in each turn [turns, calls, 2]; two turns before do not count.

    rest: seconds after a call, in which idle threads fall asleep; their processor time counts.
    """
    taken = np.zeros((turns + 2, len(calls), 2))
    for turn in range(turns + 2):
        for place, call in enumerate(calls):
            started, worked = time.perf_counter(), time.process_time()
            call()
            took = time.perf_counter() - started
            time.sleep(rest)
            taken[turn, place] = took, time.process_time() - worked
    return taken[2:]


def only_fp32(source: Path, target: Path) -> Bundle:
    """A copy of a bundle with fp32 alone."""
    shutil.copytree(source, target)
    values = json.loads((target / MANIFEST).read_text("utf-8"))
    values["variants"] = [variant for variant in values["variants"] if variant["name"] == "fp32"]
    values["files"].pop("calibration.json", None)
    (target / MANIFEST).write_text(json.dumps(values), "utf-8")
    return Bundle.open(target)


def rows_of(
    path: str, *, split: str | None = None, corpora: Sequence[str] = (), limit: int | None = None
) -> tuple[manifest.Row, ...]:
    """The rows of a manifest: of one split, of some corpora, evenly picked up to a limit."""
    rows = [row for row in manifest.read(path, split=split) if not corpora or row.corpus in corpora]
    return tuple(rows[:: max(1, len(rows) // limit)] if limit else rows)
