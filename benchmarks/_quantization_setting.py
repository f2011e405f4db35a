"""What the parts of quantization_choices.py share: the model, its speech, and a row of a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wav2edge.calibration import prepare
from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.clips import Clips
from wav2edge.calibration.options import Options
from wav2edge.graphs.graph import Graph
from wav2edge.runtime.bundle.read import Bundle

THREADS = 2


def quiet(stage: str, done: int, total: int) -> None:
    """No progress: the tables are the output."""


@dataclasses.dataclass
class Setting:
    """The model, its speech, and a folder for files."""

    bundle: Bundle
    speech: Clips
    dev: Clips
    folder: Path

    def graph(self) -> Graph:
        """A fresh fp32 graph."""
        return Graph.load(self.bundle.graph(self.bundle.variant("fp32"), "full"))

    def builder(self, clips: Clips, options: Options) -> VariantBuilder:
        """What builds variants, calibrated on these clips."""
        return prepare.prepare(self.bundle, self.graph(), clips, self.folder, options, quiet)[0]


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
