"""Measure every engine × variant of this machine side by side.

Each cell has a process of its own, and they take turns (bench_turns), each between two of the baseline: a noisy
neighbour then hits all alike. A cell is measured at one length until it has ``Plan.runs`` runs or ``Plan.limit``
seconds of running. Before that come its first run, which is reported, and a burn-in, which is not.
"""

from __future__ import annotations

import contextlib
import datetime
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ...devices import detect, energy, profile
from ...runtime.bundle.read import Bundle
from ...runtime.engines.torch import CHECKPOINT
from ...runtime.errors import EngineError
from .. import manifest
from . import plan as bench_plan
from . import report, turns
from .audio import RATE, manifest_rows, speech_of
from .plan import Cell, Plan
from .report import CellResult, Report, Skipped, Timing
from .turns import Seat
from .worker import Worker

Progress = Callable[[float, str], None]
"""Told the share done, 0 to 1, and what is going on."""

QUICK_LENGTHS = (1.0, 10.0)
_SETTLE = 0.05
"""Seconds before a turn: the engine before keeps its idle threads spinning, ONNX Runtime's for about 30 ms of CPU."""
_PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "torch", "transformers"),
    *("faster-whisper", "ctranslate2", "numpy", "wav2edge"),
)


@dataclass(eq=False)
class _Running:
    """A cell whose worker is up, and what it gave so far."""

    cell: Cell
    worker: Worker
    load: float
    device_before: int | None
    seat: Seat = field(init=False)
    meter: energy.EnergyMeter | None = None
    joules: float = 0.0
    energy_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.seat = Seat(self.cell.name, self.run)

    def run(self, seconds: float, runs: int, limit: float, warm: int) -> list[float]:
        """Times of the worker's runs (see turns.Run); the energy is of all but the very first."""
        time.sleep(_SETTLE)
        meter = self.meter if seconds in self.seat.first else None
        with meter if meter is not None else contextlib.nullcontext():
            answer = self.worker.ask(do="run", samples=int(seconds * RATE), runs=runs, limit=limit, warm=warm)
        times: list[float] = answer["times"]
        if meter is not None and meter.energy is not None:
            self.joules += meter.energy.joules
            self.energy_seconds += seconds * (len(times) + warm)
        return times


def measure(plan: Plan, progress: Progress = lambda share, text: None) -> Report:
    """Run a plan. A cell that fails is reported as skipped with its reason; raises EngineError when none ran."""
    machine = detect.detect()
    meter = energy.find(rails=profile.for_machine(machine).rails)
    failed = list(plan.skipped)
    results: list[CellResult] = []
    texts: dict[tuple[Path, str], list[str]] = {}
    rows = manifest_rows(plan)
    memory = plan.memory if plan.memory is not None else int(0.7 * (machine.memory.available or machine.memory.usable))
    baseline = plan.baseline or bench_plan.default_baseline(plan.cells)
    grouped = bench_plan.groups(plan.cells, memory, baseline)
    notes = [] if len(grouped) == 1 else [f"memory holds {len(grouped)} groups of cells; each was measured for itself"]
    with tempfile.TemporaryDirectory(prefix="wav2edge-bench-") as folder, contextlib.ExitStack() as stack:
        if meter is not None:
            stack.callback(meter.close)
        speech = Path(folder) / "speech.npy"
        np.save(speech, speech_of(max(plan.lengths), rows))
        for index, group in enumerate(grouped):
            done = _Share(progress, index / len(grouped), 1 / len(grouped))
            before = {(cell.bundle, cell.name) for cell in results}
            with _workers(group, speech, plan, failed, done) as running:
                if plan.baseline is None and not results:
                    baseline = bench_plan.default_baseline([item.cell for item in running])
                _take_turns(running, plan, baseline, meter, done)
                failed += [Skipped(item.cell.name, item.seat.failure) for item in running if item.seat.failure]
                for item in running:
                    if item.seat.failure or (str(item.cell.bundle), item.cell.name) in before:
                        continue  # a baseline that is there for a second group's ratios was reported with the first
                    if rows:
                        _transcribe(item, rows, texts, failed, done)
                    results.append(_result(item))
    if not results:
        raise EngineError("nothing could be measured: " + "; ".join(report.grouped(failed)))
    if rows:
        results = _scored(results, plan, texts, [row.text for row in rows])
    progress(1.0, "done")
    order = {(str(cell.bundle), cell.name): number for number, cell in enumerate(plan.cells)}
    return Report(
        machine=machine.to_json(),
        versions=_versions(),
        cells=tuple(sorted(results, key=lambda cell: order.get((cell.bundle, cell.name), len(order)))),
        skipped=tuple(failed),
        baseline=baseline,
        energy_source=meter.name if meter is not None else None,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        settings={
            "batch": 1,
            "runs": plan.runs,
            "limit_s": plan.limit,
            "burn_in_runs": turns.BURN_IN_RUNS,
            "threads": sorted({cell.threads for cell in plan.cells}),
            "power_mode": machine.power_mode,
            "manifest": plan.manifest.name if plan.manifest else None,
            "clips": len(rows) or None,
        },
        notes=(*notes, *([] if meter is not None else [f"no energy: {energy.missing()}"])),
    )


@contextlib.contextmanager
def _workers(
    group: Sequence[Cell], speech: Path, plan: Plan, failed: list[Skipped], progress: _Share
) -> Iterator[list[_Running]]:
    """Start and load the group's workers one by one, so that load times are undisturbed."""
    running: list[_Running] = []
    with contextlib.ExitStack() as stack:
        for number, cell in enumerate(group):
            progress(0.15 * number / len(group), f"loading {cell.name}")
            worker = Worker({CHECKPOINT: cell.checkpoint} if cell.checkpoint else None)
            stack.callback(worker.close)
            try:
                answer = worker.ask(
                    do="load",
                    bundle=str(cell.bundle),
                    engine=cell.engine,
                    variant=cell.variant,
                    threads=cell.threads,
                    device=cell.device,
                    language=cell.language,
                    longest=max(plan.lengths),
                    speech=str(speech),
                )
            except EngineError as error:
                failed.append(Skipped(cell.name, str(error)))
                worker.close()
                continue
            running.append(_Running(cell, worker, float(answer["seconds"]), answer["device_before"]))
        yield running


def _take_turns(
    running: list[_Running], plan: Plan, baseline: str | None, meter: energy.EnergyMeter | None, progress: _Share
) -> None:
    by_cell = {item.cell: item for item in running}
    for item in running:
        item.meter = meter
        against = bench_plan.baseline_of(item.cell, list(by_cell), baseline)
        item.seat.baseline = by_cell[against].seat if against is not None else None
    turns.take_turns(
        [item.seat for item in running],
        plan.lengths,
        plan.runs,
        plan.limit,
        lambda share, text: progress(0.15 + 0.75 * share, text),
        shown=report.shown_length(plan.lengths),
    )


def _transcribe(
    item: _Running,
    rows: Sequence[manifest.Row],
    texts: dict[tuple[Path, str], list[str]],
    failed: list[Skipped],
    progress: _Share,
) -> None:
    found = []
    try:
        for number, row in enumerate(rows):
            progress(0.9 + 0.1 * number / len(rows), f"words of {item.cell.name}")
            found.append(str(item.worker.ask(do="text", path=str(row.path))["text"]))
    except EngineError as error:
        failed.append(Skipped(f"{item.cell.name}, WER", str(error)))
        return
    texts[(item.cell.bundle, item.cell.name)] = found


def _result(item: _Running) -> CellResult:
    cell, seat = item.cell, item.seat
    memory = item.worker.ask(do="memory")
    device = memory["device"]
    return CellResult(
        bundle=str(cell.bundle),
        engine=cell.engine,
        variant=cell.variant,
        threads=cell.threads,
        load=item.load,
        timings=tuple(
            Timing(s, seat.first[s], tuple(times), tuple(seat.trios[s])) for s, times in sorted(seat.times.items())
        ),
        device=cell.device,
        precision=cell.precision,
        file_bytes=cell.file_bytes,
        memory=memory["host"],
        device_memory=max(0, device - item.device_before) if device is not None and item.device_before else None,
        energy=item.joules / item.energy_seconds if item.energy_seconds else None,
    )


def _scored(
    results: Sequence[CellResult], plan: Plan, texts: dict[tuple[Path, str], list[str]], references: list[str]
) -> list[CellResult]:
    """WER for each cell, and its rise over the bundle's fp32 (ONNX Runtime's, else the baseline's)."""
    from dataclasses import replace

    from .. import scoring

    rates = {key: scoring.score(references, found).wer for key, found in texts.items()}
    scored = []
    for cell in results:
        rate = rates.get((Path(cell.bundle), cell.name))
        if rate is None:
            scored.append(cell)
            continue
        names = ("onnxruntime/fp32", "torch/fp32", plan.baseline or "")
        against = next((rates[key] for name in names if (key := (Path(cell.bundle), name)) in rates), None)
        rise = rate.value - against.value if against is not None else None
        scored.append(replace(cell, wer=rate.value, wer_low=rate.low, wer_high=rate.high, wer_rise=rise))
    return scored


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


class _Share:
    """A part of the whole progress."""

    def __init__(self, progress: Progress, start: float, size: float) -> None:
        self._progress, self._start, self._size = progress, start, size

    def __call__(self, share: float, text: str) -> None:
        self._progress(self._start + self._size * share, text)


def quick_plan(bundle: Bundle, threads: int | None = None, **choices: Any) -> Plan:
    """A plan of seconds instead of minutes: two lengths, at most 20 runs or half a second for each cell."""
    cells, skipped = bench_plan.cells([bundle], threads or detect.detect().cpu.threads, **choices)
    return Plan(tuple(cells), tuple(skipped), lengths=QUICK_LENGTHS, runs=20, limit=0.5)


def quick_table(bundle: Bundle, threads: int | None = None, progress: Progress = lambda share, text: None) -> str:
    """A latency table of a bundle on every engine here, as text; raises EngineError when none runs."""
    from .table import text_table

    return text_table(measure(quick_plan(bundle, threads), progress))
