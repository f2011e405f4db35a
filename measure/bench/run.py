"""Measure every engine × variant of this machine side by side.

Each configuration has a separate process, and they take turns (``turns``), each between two of the baseline, so that
other load on the machine slows all alike. A configuration is measured at one length until it has ``BenchPlan.runs``
runs or ``BenchPlan.limit`` seconds of running. Before that come its first run, which is reported, and a burn-in, which
is not.
"""

from __future__ import annotations

import contextlib
import datetime
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import cast

import numpy as np

from ...devices import detect, energy, profile
from ...runtime.bundle.read import Bundle
from ...runtime.errors import EngineError
from ..manifest import Row
from . import figures, report, turns
from . import plan as bench_plan
from .audio import speech_of
from .plan import BenchPlan, Configuration
from .report import BenchReport, BenchResult, Settings, Skipped, Timing
from .turns import Contender
from .worker import Worker

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is running."""

QUICK_LENGTHS = (1.0, 10.0)
QUICK_RUNS, QUICK_LIMIT = 20, 0.5
_SETTLE = 0.05
"""Seconds before a turn: after a run, an engine's idle threads may spin, those of ONNX Runtime for about 30 ms."""
_USABLE_MEMORY = 0.7
"""Share of the available memory that workers may fill, so that the system does not begin to swap."""
_PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "torch", "transformers"),
    *("faster-whisper", "ctranslate2", "numpy", "wav2edge"),
)


@dataclass(eq=False)
class _Running:
    """A configuration whose worker is loaded, and its measurements so far."""

    configuration: Configuration
    worker: Worker
    load: float
    device_before: int | None
    contender: Contender = field(init=False)
    meter: energy.EnergyMeter | None = None
    joules: float = 0.0
    energy_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.contender = Contender(self.configuration.name, self.run)

    def run(self, seconds: float, runs: int, limit: float, warm: int) -> list[float]:
        """Times of the worker's runs (see turns.Run); the energy is of all but the very first."""
        time.sleep(_SETTLE)
        meter = self.meter if seconds in self.contender.first else None
        with meter if meter is not None else contextlib.nullcontext():
            times = self.worker.time(int(seconds * self.configuration.sample_rate), runs, limit, warm)
        if meter is not None and meter.energy is not None:
            self.joules += meter.energy.joules
            self.energy_seconds += seconds * (len(times) + warm)
        return times


@dataclass(eq=False)
class _Measuring:
    """The state and the results so far of a benchmark."""

    plan: BenchPlan
    figures: figures.ManifestFigure
    meter: energy.EnergyMeter | None
    speech: Mapping[int, Path]
    """By sample rate in Hz."""
    baseline: str | None
    failed: list[Skipped]
    results: list[BenchResult] = field(default_factory=list)

    def measure(self, group: Sequence[Configuration], progress: Progress) -> None:
        """Measure configurations whose workers run at the same time."""
        before = {(result.bundle, result.name) for result in self.results}
        with _workers(group, self.speech, self.plan, self.failed, progress) as running:
            if self.plan.baseline is None and not self.results:
                self.baseline = bench_plan.default_baseline([item.configuration for item in running])
            self._take_turns(running, progress)
            for item in running:
                if item.contender.failure:
                    self.failed.append(Skipped(item.configuration.name, item.contender.failure))
                elif (str(item.configuration.bundle), item.configuration.name) not in before:
                    # A baseline that runs again for a later group is reported with the first group only.
                    self._score(item, progress)
                    self.results.append(_result(item))

    def _take_turns(self, running: Sequence[_Running], progress: Progress) -> None:
        by_configuration = {item.configuration: item for item in running}
        for item in running:
            item.meter = self.meter
            baseline = bench_plan.baseline_of(item.configuration, list(by_configuration), self.baseline)
            item.contender.baseline = by_configuration[baseline].contender if baseline is not None else None
        turns.take_turns(
            [item.contender for item in running],
            self.plan.lengths,
            self.plan.runs,
            self.plan.limit,
            _part(progress, 0.15, 0.75),
            shown=report.shown_length(self.plan.lengths),
        )

    def _score(self, item: _Running, progress: Progress) -> None:
        """Run the manifest's recordings, for WER or another head's figure."""
        if not self.figures.rows:
            return
        name = f"{self.figures.title} of {item.configuration.name}"
        problem = figures.measured(
            self.figures, item.worker, item.configuration, lambda done, of: progress(0.9 + 0.1 * done / of, name)
        )
        if problem is not None:
            self.failed.append(problem)


def measure(plan: BenchPlan, progress: Progress = lambda share, text: None) -> BenchReport:
    """Run a plan; a configuration that fails is reported as skipped, with the reason.

    Raises InputError for a manifest that cannot be used, EngineError when nothing could be measured.
    """
    machine = detect.detect()
    baseline = plan.baseline or bench_plan.default_baseline(plan.configurations)
    available = machine.memory.available or machine.memory.usable
    memory = plan.memory if plan.memory is not None else int(_USABLE_MEMORY * available)
    groups = bench_plan.groups(plan.configurations, memory, baseline)
    notes = [] if len(groups) == 1 else [f"measured in {len(groups)} groups, because memory cannot hold all at once"]
    with tempfile.TemporaryDirectory(prefix="wav2edge-bench-") as folder, contextlib.ExitStack() as stack:
        of_manifest = figures.of_plan(plan, Path(folder))
        meter = energy.find(rails=profile.for_machine(machine).rails)
        if meter is not None:
            stack.callback(meter.close)
        speech = _speech(plan, of_manifest.rows, Path(folder))
        measuring = _Measuring(plan, of_manifest, meter, speech, baseline, list(plan.skipped))
        for index, group in enumerate(groups):
            measuring.measure(group, _part(progress, index / len(groups), 1 / len(groups)))
    if not measuring.results:
        raise EngineError("nothing could be measured: " + "; ".join(report.grouped(measuring.failed)))
    results, of_figures = figures.judged(of_manifest, measuring.results, measuring.baseline)
    progress(1.0, "done")
    order = {(str(one.bundle), one.name): number for number, one in enumerate(plan.configurations)}
    return BenchReport(
        machine=cast(report.MachineDocument, machine.to_json()),
        versions=_versions(),
        results=tuple(sorted(results, key=lambda result: order.get((result.bundle, result.name), len(order)))),
        skipped=tuple(measuring.failed),
        baseline=measuring.baseline,
        energy_source=meter.name if meter is not None else None,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        settings=_settings(plan, len(of_manifest.used), len(of_manifest.problems), machine.power_mode),
        notes=(*notes, *of_figures, *([] if meter is not None else [f"no energy: {energy.missing()}"])),
        problems=of_manifest.problems,
    )


def _settings(plan: BenchPlan, used: int, unusable: int, power_mode: str | None) -> Settings:
    return {
        "batch": 1,
        "runs": plan.runs,
        "limit_s": plan.limit,
        "burn_in_runs": turns.BURN_IN_RUNS,
        "threads": sorted({configuration.threads for configuration in plan.configurations}),
        "power_mode": power_mode,
        "manifest": plan.manifest.name if plan.manifest else None,
        "clips": used if plan.manifest else None,
        "clips_wanted": used + unusable if plan.manifest else None,
    }


def _speech(plan: BenchPlan, rows: Sequence[Row], folder: Path) -> dict[int, Path]:
    """The speech that is timed, as long as the longest length, at the rate of each model."""
    files = {rate: folder / f"speech-{rate}.npy" for rate in {one.sample_rate for one in plan.configurations}}
    for rate, file in files.items():
        np.save(file, speech_of(max(plan.lengths), rows, rate))
    return files


@contextlib.contextmanager
def _workers(
    group: Sequence[Configuration],
    speech: Mapping[int, Path],
    plan: BenchPlan,
    failed: list[Skipped],
    progress: Progress,
) -> Iterator[list[_Running]]:
    """Start and load the group's workers one by one, so that load times are undisturbed."""
    running: list[_Running] = []
    with contextlib.ExitStack() as stack:
        for number, configuration in enumerate(group):
            progress(0.15 * number / len(group), f"loading {configuration.name}")
            worker = Worker(dict(configuration.environment))
            stack.callback(worker.close)
            try:
                load, device_before = worker.load(configuration, max(plan.lengths), speech[configuration.sample_rate])
            except EngineError as error:
                failed.append(Skipped(configuration.name, str(error)))
                worker.close()
                continue
            running.append(_Running(configuration, worker, load, device_before))
        yield running


def _result(item: _Running) -> BenchResult:
    configuration, contender = item.configuration, item.contender
    memory, device = item.worker.memory()
    timings = [
        Timing(seconds, contender.first[seconds], tuple(times), tuple(contender.triples[seconds]))
        for seconds, times in sorted(contender.times.items())
    ]
    return BenchResult(
        bundle=str(configuration.bundle),
        engine=configuration.engine,
        variant=configuration.variant,
        threads=configuration.threads,
        load=item.load,
        timings=tuple(timings),
        device=configuration.device,
        precision=configuration.precision,
        file_bytes=configuration.file_bytes,
        memory=memory,
        device_memory=max(0, device - item.device_before) if device is not None and item.device_before else None,
        energy=item.joules / item.energy_seconds if item.energy_seconds else None,
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _part(progress: Progress, start: float, size: float) -> Progress:
    """A part of the whole progress."""
    return lambda share, text: progress(start + size * share, text)


def quick_plan(bundle: Bundle, threads: int | None = None) -> BenchPlan:
    """A plan of seconds instead of minutes: two lengths, at most 20 runs or half a second for each configuration."""
    chosen, skipped = bench_plan.configurations([bundle], threads or detect.detect().cpu.threads)
    return BenchPlan(tuple(chosen), tuple(skipped), lengths=QUICK_LENGTHS, runs=QUICK_RUNS, limit=QUICK_LIMIT)


def quick_table(bundle: Bundle, threads: int | None = None, progress: Progress = lambda share, text: None) -> str:
    """A latency table of a bundle on every engine here, as text; raises EngineError when none runs."""
    from .table import text_table

    return text_table(measure(quick_plan(bundle, threads), progress))
