"""The results of a benchmark, as plain figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict

import numpy as np

from .. import names
from ..figures import FIGURES, Name

UNDISTURBED = 1.1
"""A turn counts as undisturbed while both baseline runs around it stay within this multiple of the baseline's best.
With it, simulated bursts of other load move ratios by less than 4 % (tests/measure/bench/test_turns.py)."""
_FEWEST_FOR_A_RANGE = 4
"""Turns that a middle half needs: quartiles of fewer are the extremes."""
REFERENCE_SECONDS = 10.0
"""The length of audio that verdicts and the table's ratios are taken at, where it was measured."""


@dataclass(frozen=True)
class Timing:
    """Runs of one configuration at one length. seconds: of audio. first, times: seconds that runs took.

    triples: for each turn the baseline's time just before it, its own, and the baseline's just after it; none for the
    baseline itself.
    """

    seconds: float
    first: float
    times: tuple[float, ...]
    triples: tuple[tuple[float, float, float], ...] = ()

    @cached_property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster than the baseline, from the turns that other load on the machine did not disturb.

        Undisturbed are turns whose two baseline runs were within 10 % of the baseline's best (``UNDISTURBED``). Where
        fewer than half of the turns are, the half with the fastest baseline runs is used. The configuration's time does
        not enter the selection, so that it cannot bias the ratio.
        """
        if not self.triples:
            return ()
        best = float(np.percentile([min(before, after) for before, _, after in self.triples], 10))
        ordered = sorted(self.triples, key=lambda triple: max(triple[0], triple[2]))
        undisturbed = sum(max(before, after) <= UNDISTURBED * best for before, _, after in ordered)
        used = ordered[: max(3, -(-len(ordered) // 2), undisturbed)]
        return tuple((before + after) / 2 / own for before, own, after in used)

    def percentile(self, share: float) -> float:
        """The time in seconds that ``share`` percent of the runs stay below."""
        return float(np.percentile(self.times, share))

    @property
    def rtf(self) -> float:
        """Real-time factor: median time for each second of audio; below 1 is faster than real time."""
        return self.percentile(50) / self.seconds


@dataclass(frozen=True)
class ResultFigure:
    """A head's figure on the manifest, as a fraction; None where it is not known.

    low, high: its 95 % interval. change: against the bundle's fp32 on the same recordings; loss: by how much it is
    worse than that, below 0 where it is better.
    """

    name: Name
    value: float | None
    low: float | None
    high: float | None
    change: float | None
    loss: float | None

    @property
    def title(self) -> str:
        """As ``EER`` or ``accuracy``."""
        return FIGURES[self.name].short

    @property
    def shown(self) -> str:
        """As ``4.1 %``, a concordance as ``0.812``."""
        return self._written(self.value, "", " %")

    @property
    def shown_change(self) -> str:
        """As ``+0.3``, in points where the figure is in per cent."""
        return self._written(self.change, "+", "")

    def _written(self, value: float | None, sign: str, unit: str) -> str:
        if value is None:
            return "–"
        return f"{100 * value:{sign}.1f}{unit}" if FIGURES[self.name].percent else f"{value:{sign}.3f}"


@dataclass(frozen=True)
class BenchResult:
    """One measured configuration: an engine × variant of one bundle, on a device and a number of threads.

    load: seconds until the engine was ready, its library's import included. memory: peak bytes of the worker process;
    device_memory: bytes that it added on the GPU. energy: joules for each second of audio, by the machine's
    meter. wer, wer_rise: fractions; the rise is against the bundle's fp32. figure: of a head that does not transcribe.
    precision: the number format of the arithmetic.
    """

    bundle: str
    engine: str
    variant: str
    threads: int
    load: float
    timings: tuple[Timing, ...]
    device: str | None = None
    precision: str = ""
    file_bytes: int | None = None
    memory: int | None = None
    device_memory: int | None = None
    energy: float | None = None
    wer: float | None = None
    wer_low: float | None = None
    wer_high: float | None = None
    wer_rise: float | None = None
    figure: ResultFigure | None = None

    @property
    def name(self) -> str:
        """As ``onnxruntime/fp32``, with the device where one was named."""
        return configuration_name(self.engine, self.variant, self.device)

    @property
    def has_figure(self) -> bool:
        """Whether its figure on a manifest is known."""
        return self.wer is not None or (self.figure is not None and self.figure.value is not None)

    @property
    def engine_label(self) -> str:
        """The engine, with its device where one was named."""
        return f"{self.engine} ({self.device})" if self.device else self.engine

    def timing(self, seconds: float) -> Timing | None:
        """The runs at one length."""
        return next((timing for timing in self.timings if timing.seconds == seconds), None)

    def median(self, seconds: float) -> float:
        """The median time at one length; infinite where it was not measured."""
        timing = self.timing(seconds)
        return timing.percentile(50) if timing else float("inf")


def configuration_name(engine: str, variant: str, device: str | None) -> str:
    """As ``onnxruntime/fp32`` or ``openvino(GPU)/fp16``."""
    return f"{engine}{f'({device})' if device else ''}/{variant}"


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why. name: an engine, ``engine/variant``, or ``engine/variant, figure``."""

    name: str
    reason: str


def grouped(skipped: Iterable[Skipped]) -> list[str]:
    """As ``tensorrt, tensorrt-rtx: no driver``: each reason once."""
    names: dict[str, list[str]] = {}
    for item in skipped:
        names.setdefault(item.reason, []).append(item.name)
    return [f"{', '.join(dict.fromkeys(same))}: {reason}" for reason, same in names.items()]


class CpuDocument(TypedDict, total=False):
    """The processor, of which reports show the name."""

    name: str | None


class GpuDocument(TypedDict, total=False):
    """A graphics processor, of which reports show the name."""

    name: str | None


class MachineDocument(TypedDict, total=False):
    """What reports show of the machine; ``wav2edge devices --json`` describes all of it."""

    model: str | None
    cpu: CpuDocument
    gpus: list[GpuDocument]


class Settings(TypedDict, total=False):
    """How a benchmark was measured.

    batch: clips at once. runs, limit_s: the runs, or seconds, after which a configuration stopped at one length.
    burn_in_runs: runs before those that count. threads: of the CPU. power_mode: the board's. manifest, clips: the
    recordings that WER or another figure was measured on. clips_wanted: these and the rows that could not be used.
    """

    batch: int
    runs: int
    limit_s: float
    burn_in_runs: int
    threads: list[int]
    power_mode: str | None
    manifest: str | None
    clips: int | None
    clips_wanted: int | None


@dataclass(frozen=True)
class BenchReport:
    """All results of a benchmark.

    versions: of Python and the engines' libraries. baseline: the name of the configuration that ratios are to.
    energy_source: the parts of the machine whose joules are counted, None where it has no meter. created: ISO 8601.
    problems: a line for each row of the manifest that could not be used.
    """

    machine: MachineDocument
    versions: dict[str, str]
    results: tuple[BenchResult, ...]
    skipped: tuple[Skipped, ...] = ()
    baseline: str | None = None
    energy_source: str | None = None
    created: str = ""
    settings: Settings = field(default_factory=Settings)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def lengths(self) -> tuple[float, ...]:
        """The lengths measured, in seconds of audio."""
        return tuple(sorted({timing.seconds for result in self.results for timing in result.timings}))

    @property
    def reference_length(self) -> float | None:
        """The length that ratios are taken at: 10 s, else the longest."""
        return shown_length(self.lengths) if self.lengths else None

    @property
    def several_bundles(self) -> bool:
        """Whether results need their bundle's name to be distinguished."""
        return len({result.bundle for result in self.results}) > 1

    def bundle_name(self, result: BenchResult) -> str:
        """The end of a result's bundle's path that tells it from the others; empty where there is one bundle."""
        return names.apart(each.bundle for each in self.results)[result.bundle] if self.several_bundles else ""

    def baseline_for(self, result: BenchResult) -> BenchResult | None:
        """The baseline of a result's bundle (a Whisper model is compared with the first bundle's)."""
        return self.same_bundle_first(result, self.baseline)

    def same_bundle_first(self, result: BenchResult, name: str | None) -> BenchResult | None:
        """The result of that name for the same bundle, else the first of that name."""
        named = [other for other in self.results if other.name == name]
        return next((other for other in named if other.bundle == result.bundle), named[0] if named else None)

    def ratio(self, result: BenchResult, to: BenchResult | None, seconds: float) -> float | None:
        """How many times faster than another result at one length.

        The median over the turns that were paired with the baseline (``Timing.ratios``), which bursts of other load
        hardly change; where there are none, the ratio of the two medians.
        """
        ours = result.timing(seconds)
        theirs = to.timing(seconds) if to is not None else None
        if to is None or ours is None or theirs is None:
            return None
        mine, other = self._speed(result, seconds), self._speed(to, seconds)
        if mine is not None and other is not None and self.baseline_for(result) is self.baseline_for(to):
            return mine / other
        return theirs.percentile(50) / ours.percentile(50)

    def ratio_range(self, result: BenchResult, seconds: float) -> tuple[float, float] | None:
        """The middle half of a result's ``Timing.ratios``; None where they are too few to have one."""
        timing = result.timing(seconds)
        if timing is None or len(timing.ratios) < _FEWEST_FOR_A_RANGE:
            return None
        low, high = np.percentile(timing.ratios, (25, 75))
        return float(low), float(high)

    def _speed(self, result: BenchResult, seconds: float) -> float | None:
        """In multiples of the baseline's; None where no turn was paired with it."""
        if result is self.baseline_for(result):
            return 1.0
        timing = result.timing(seconds)
        return float(np.median(timing.ratios)) if timing is not None and timing.ratios else None


def shown_length(lengths: Sequence[float]) -> float:
    """The length that ratios and verdicts are taken at: 10 s where it is measured, else the longest."""
    return REFERENCE_SECONDS if REFERENCE_SECONDS in lengths else max(lengths)
