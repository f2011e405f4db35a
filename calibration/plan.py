"""What a run will do and about how long it will take, for the line that is printed before the work."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.model import Model

from .clips import Speech
from .judge import FALLBACK, REPEATS
from .options import Options
from .prepare import needs_ranges
from .schemes import SIGNED
from .sensitivity import SECONDS
from .sites import Site

TIMED_SECONDS = 2.0
"""Seconds of sound that fp32 is timed on for the estimate: long enough that the overhead of a run is small."""
FOLDING_COST = 1.1
"""Time of a pass over the speech that looks for outliers, in fp32's own time (benchmarks/quantization_choices.py, part
``time``, as the next two)."""
OBSERVING_COST = 2.1
"""The same of a pass that calibrates."""
SWITCHED_COST = 1.6
"""The same of a run of the graph that holds every layer twice, by which sensitivities are measured."""


@dataclass(frozen=True)
class QuantizationPlan:
    """What a run will do."""

    calibrating: int
    """Recordings to calibrate on."""
    judging: int
    """Recordings to judge on."""
    recordings: int
    """How many there are of both kinds."""
    seconds: float
    """About how long it takes."""
    candidate_seconds: float
    """About how long each further candidate of a search takes."""
    searching: bool

    def __str__(self) -> str:
        """As ``calibrating on 100, judging on 200 of 4 748 recordings (about 12 min)``."""
        text = (
            f"calibrating on {_number(self.calibrating)}, judging on {_number(self.judging)} of "
            f"{_number(self.recordings)} recordings (about {_duration(self.seconds)}"
        )
        if self.searching:
            text += f", and {_duration(self.candidate_seconds)} for each set of float layers that a search tries"
        return text + ")"


def make_plan(bundle: Bundle, speech: Speech, sites: Collection[Site], options: Options) -> QuantizationPlan:
    """Estimate a run by timing fp32 on a little noise, once; raises EngineError where ONNX Runtime is missing."""
    pace = _pace(bundle, options)
    passes = FOLDING_COST * options.smooth + OBSERVING_COST * needs_ranges(options)
    sounds = speech.calibrating.seconds * passes
    if options.searching:
        schemes = bool(SIGNED & set(options.names)) + bool(set(options.names) - SIGNED)
        sounds += SWITCHED_COST * schemes * len({site.layer for site in sites}) * SECONDS
    dev = speech.judging.seconds
    timing = 2 * (REPEATS + 1) * options.timed_seconds
    sounds += dev + len(options.names) * (dev + timing)
    return QuantizationPlan(
        calibrating=len(speech.calibrating.rows),
        judging=len(speech.judging.rows),
        recordings=speech.recordings,
        seconds=pace * sounds,
        candidate_seconds=pace * dev,
        searching=options.searching,
    )


def _pace(bundle: Bundle, options: Options) -> float:
    """Seconds that fp32 takes for a second of sound."""
    samples = max(int(TIMED_SECONDS * bundle.spec.sample_rate), bundle.spec.min_samples)
    noise = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    with Model(bundle, FALLBACK, "fp32", EngineOptions(threads=options.threads), reason="to time it") as model:
        model.logits([noise])
        start = time.perf_counter()
        model.logits([noise])
        return (time.perf_counter() - start) * bundle.spec.sample_rate / samples


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
