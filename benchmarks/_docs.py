"""Writes a benchmark's table as a figure of the documentation, ``docs/figures/NAME.md``, with date and machine."""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from wav2edge.devices.detect import detect


def write(figure: Path, lines: Sequence[str]) -> None:
    """Write the figure that a page of docs/ includes; the first line says when, where and how it was measured."""
    date = datetime.date.today().isoformat()
    figure.write_text(f"*Measured on {date} on {machine()}, by `{command()}`.*\n\n" + "\n".join(lines) + "\n", "utf-8")


def machine() -> str:
    """The processor and the GPU that measure, in words."""
    found = detect()
    traits = ", ".join(found.cpu.features) or "no extensions that matter"
    gpu = f", {found.nvidia.name}" if found.nvidia else ""
    return f"{found.model or found.cpu.name} ({found.cpu.architecture}; {traits}), {found.cpu.threads} threads{gpu}"


def command() -> str:
    """The command that is running, folders of its arguments left out."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    if "--docs" in words:
        place = words.index("--docs")
        del words[place : place + 2]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
