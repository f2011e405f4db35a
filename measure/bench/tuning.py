"""From a benchmark to this machine's choice of engine and variant, which transcribe and listen then follow."""

from __future__ import annotations

from pathlib import Path

from ...devices import detect, tuning
from ...runtime import choice
from ...runtime.bundle.read import Bundle
from ...runtime.errors import GateRefused
from .report import Report


def keep(
    report: Report, bundle: Bundle, max_wer_rise: float | None = None, max_latency: float | None = None
) -> tuple[tuning.Measurement, Path]:
    """Keep the best measured cell of a bundle inside a budget; returns it and the file it is kept in.

    max_wer_rise: points of WER; max_latency: seconds at the report's reference length. The engine torch is left out:
    a device runs the bundle alone. Raises GateRefused when nothing is inside the budget.
    """
    cells = tuple(_cells(report, bundle))
    if not cells:
        raise GateRefused(f"{bundle.path}: nothing was measured that could be chosen")
    chosen = tuning.within_budget(cells, max_wer_rise, max_latency)
    machine = detect.detect()
    power_mode = report.settings.get("power_mode")
    return chosen, tuning.save(bundle, machine, tuning.Tuning(chosen, cells, report.created, power_mode))


def _cells(report: Report, bundle: Bundle) -> list[tuning.Measurement]:
    seconds = report.reference_length
    found = []
    for cell in report.cells:
        timing = cell.timing(seconds) if seconds is not None else None
        ours = cell.bundle == str(bundle.path) and cell.engine != "torch" and cell.device is None
        if timing is None or not ours or choice.forced(bundle.variant(cell.variant)):
            continue
        found.append(
            tuning.Measurement(
                cell.engine,
                cell.variant,
                cell.threads,
                timing.percentile(50),
                timing.seconds,
                None if cell.wer is None else 100 * cell.wer,
                None if cell.wer_rise is None else 100 * cell.wer_rise,
                cell.energy,
            )
        )
    return found
