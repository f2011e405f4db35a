"""How to quantise, and how one variant came out."""

from __future__ import annotations

from dataclasses import dataclass, field

from wav2edge.runtime.bundle.read import Variant
from wav2edge.runtime.errors import InputError

from .build import DEFAULT
from .gate import Budget, Verdict
from .judge import Measured
from .ranges import Method, check_method


@dataclass(frozen=True)
class Options:
    """How to quantise a bundle."""

    variants: tuple[str, ...] | None = None
    """The variants to make, of ``build.NAMES``; None: ``build.DEFAULT``. Where they are named and one is refused, none
    is added."""
    method: Method = "mse"
    """How the range of an activation is found (``ranges.METHODS``). With everything in INT8 the embedded model's words
    change least with ``mse`` and ``percentile``, and most with ``entropy`` (benchmarks/quantization_choices.py, part
    ``methods``)."""
    budget: Budget = field(default_factory=Budget)
    """What a variant may lose."""
    keep_float: tuple[str, ...] = ()
    """Modules to leave in float: module paths or regular expressions (``sites.match_sites``)."""
    smooth: bool = True
    """Fold outliers of activations into weights first (passes/smooth.py)."""
    searching: bool = True
    """Put layers back in float until the losses are within the budget; else each variant is judged once, as it is."""
    compress: bool = False
    """First remove layers, heads and inner units that the words do not need (``compress``); the variants are then named
    ``int8-u8s8-compressed`` and so on."""
    local_attention: float | None = None
    """Seconds that each frame attends to on either side, at least (passes/local_attention.py); the variants are then
    named ``int8-u8s8-local`` and so on. None: to all frames."""
    force: bool = False
    """Keep variants that the gate refuses, marked as forced."""
    longest: float = 10.0
    """Seconds of the pieces that calibrate: the clip length that the device will see."""
    limit: int | None = 100
    """The most recordings to calibrate on, spread evenly, those that judge not counted; None: all. From ten on more
    recordings do not change the figures of the embedded model (benchmarks/quantization_choices.py, part
    ``recordings``); a hundred can cover different speakers, rooms and microphones."""
    dev_limit: int | None = 200
    """The most recordings to judge on, spread evenly; None: all. For an INT8 variant without a search, half the
    interval of the rise is 3.5 points with 50 recordings of ten words, 2.5 with 100, 1.7 with 200 (the same benchmark,
    part ``dev``); where the interval exceeds the budget, the verdict says so."""
    timed_seconds: float = 10.0
    """Seconds of speech in one timed run: a clip of the default ``longest``."""
    threads: int | None = None
    """CPU threads; None: the engine's choice."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variants to make, those of the default where none is named."""
        return DEFAULT if self.variants is None else self.variants

    def check(self) -> None:
        """Raise InputError for values that cannot be used."""
        self.budget.check()
        check_method(self.method)
        lengths = (
            ("longest", self.longest),
            ("timed_seconds", self.timed_seconds),
            ("local_attention", self.local_attention),
        )
        for name, seconds in lengths:
            if seconds is not None and not 0 < seconds <= 3600:
                raise InputError(f"{name} {seconds:g}: give seconds above 0, at most 3600")
        if not self.names:
            raise InputError("variants: none is named; name one or more, or leave them out for the default ones")
        if len(set(self.names)) < len(self.names):
            raise InputError(f"variants {', '.join(self.names)}: one is named twice")
        if self.local_attention is not None and self.compress:
            raise InputError("give local attention or compress, one at a time")
        for name, limit in (("limit", self.limit), ("dev_limit", self.dev_limit)):
            if limit is not None and limit < 1:
                raise InputError(f"{name} {limit}: give 1 or more recordings, or None for all")


@dataclass(frozen=True)
class Outcome:
    """How one variant came out."""

    variant: Variant
    measured: Measured
    """Its figures against fp32."""
    verdict: Verdict
    """Whether it is kept, and why."""
    kept_float: dict[str, str]
    """The layers left in float, and why."""
    latency_ratio: float
    """Its time over fp32's on the same engine; NaN where no engine that it is made for is on this machine."""
    latency_ms: float
    """Its time for ``Options.timed_seconds`` of speech, in milliseconds; NaN where it was not timed."""
    trials: int
    """How many candidates were built and judged."""
    removed: dict[str, str] = field(default_factory=dict)
    """What was removed from the model before, by module path."""
