"""How to quantise, and how one variant came out."""

from __future__ import annotations

from dataclasses import dataclass, field

from wav2edge.runtime.bundle.read import Variant

from .build import DEFAULT
from .gate import Budget, Verdict
from .judge import Measured


@dataclass(frozen=True)
class Options:
    """How to quantise. method: see ranges.METHODS. budget: what may be lost. keep_float: module paths or regexes.

    smooth: fold outliers into weights. searching: put layers back in float until the words are back. force: keep what
    the gate refuses, and mark it. longest: seconds of the pieces that calibrate, as the device will see them.
    limit: at most so many recordings to calibrate on (those that judge not counted). timed_seconds: speech in one timed
    run. threads: CPU threads.
    """

    variants: tuple[str, ...] = DEFAULT
    method: str = "mse"
    budget: Budget = field(default_factory=Budget)
    keep_float: tuple[str, ...] = ()
    smooth: bool = True
    searching: bool = True
    force: bool = False
    longest: float = 10.0
    limit: int | None = None
    timed_seconds: float = 10.0
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """One variant as it came out. kept_float: layers left in float, and why.

    latency_ratio: to fp32, same engine. latency_ms: of the variant. Both NaN where no engine that it is made for is
    here. trials: candidates built and judged.
    """

    variant: Variant
    measured: Measured
    verdict: Verdict
    kept_float: dict[str, str]
    latency_ratio: float
    latency_ms: float
    trials: int
