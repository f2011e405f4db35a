"""Writes lines as a figure of the documentation, for benchmarks that do not use ``_kit.Output``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import _kit

from wav2edge.runtime import files


def write(figure: Path, lines: Sequence[str]) -> None:
    """Write the figure that a page of docs/ includes; the first line says when, where and how it was measured."""
    date = datetime.date.today().isoformat()
    heading = f"*Measured on {date} on {_kit.machine()}, by `{_kit.command()}`.*"
    files.write_whole(figure, "\n".join([heading, "", *lines, ""]))
