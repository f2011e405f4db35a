"""The runs of the model that a live decoder asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import engines
from ..bundle.spec import Stage
from ..text.transcript import Transcript

Purpose = Literal["features", "partial", "final", "label"]
"""What a window is for: features to keep (no events), a Partial, a Final, or Labels."""


@dataclass(frozen=True)
class Window:
    """One run of the model.

    stage: which of the bundle's stages to run (spec.STAGES) on ``feeds``, a batch of one. start, end: the absolute
    samples that it covers.
    """

    utterance: int
    purpose: Purpose
    stage: Stage
    feeds: engines.Arrays
    start: int
    end: int


@dataclass
class FinalPass:
    """The pass over a whole utterance: its samples, its window once issued, its transcript once decoded."""

    samples: NDArray[np.float32]
    start: int
    end: int
    window: Window | None = None
    transcript: Transcript | None = None

    def issue(self, number: int) -> Window:
        """The window to run for utterance ``number``."""
        feeds = engines.as_feeds(self.samples[None], np.array([len(self.samples)]))
        self.window = Window(number, "final", "full", feeds, self.start, self.end)
        return self.window
