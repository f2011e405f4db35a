"""From a benchmark to this machine's choice of engine and variant, which transcribe and listen then use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...devices import choice, detect, tuning
from ...devices.tuning import Measurement
from ...runtime import engines
from ...runtime.bundle.read import Bundle
from ...runtime.errors import GateRefused
from .report import BenchReport, BenchResult


def keep(
    report: BenchReport, bundle: Bundle, max_wer_rise: float | None = None, max_latency: float | None = None
) -> tuple[Measurement, Path]:
    """Keep the best measurement of a bundle inside a budget; returns it and the file it is kept in.

    max_wer_rise: points of WER, or of another head's figure; max_latency: seconds at the report's reference length.
    Only engines for inference are chosen from: a device has no checkpoint for a reference engine, and one for testing
    gives no words. Where a manifest was run, what failed on it (with NaN, say) is not chosen either; where none was,
    ``unjudged`` is not. Raises GateRefused when nothing is inside the budget.
    """
    measurements = tuple(_measurements(report, bundle))
    if not measurements:
        remedy = "add an engine for inference"
        if report.settings.get("manifest"):
            remedy += " that runs the manifest"
        raise GateRefused(f"{bundle.path}: nothing was measured that could be chosen; {remedy}")
    chosen = tuning.within_budget(measurements, max_wer_rise, max_latency)
    kept = tuning.Tuning(chosen, measurements, report.created, report.settings.get("power_mode"))
    return chosen, tuning.save(bundle, detect.detect(), kept)


def unjudged(report: BenchReport, bundle: Bundle) -> list[BenchResult]:
    """Results of a bundle whose INT8 sums may saturate on this processor, without a figure that tells what is lost."""
    if not detect.detect().cpu.saturates:
        return []
    return [
        result
        for result in report.results
        if result.bundle == str(bundle.path)
        and not result.has_figure
        and choice.may_saturate(result.engine, bundle.variant(result.variant))
    ]


def _measurements(report: BenchReport, bundle: Bundle) -> Iterator[Measurement]:
    seconds = report.reference_length
    usable, left_out = engines.names(("inference",)), unjudged(report, bundle)
    for result in report.results:
        timing = result.timing(seconds) if seconds is not None else None
        if timing is None or result.bundle != str(bundle.path) or result.device is not None:
            continue
        if result.engine not in usable or bundle.variant(result.variant).forced:
            continue
        if report.settings.get("manifest") and result.wer is None and result.figure is None:
            continue
        if result in left_out:
            continue
        yield Measurement(
            result.engine,
            result.variant,
            result.threads,
            timing.percentile(50),
            timing.seconds,
            None if result.wer is None else 100 * result.wer,
            _points_lost(result),
            result.energy,
        )


def _points_lost(result: BenchResult) -> float | None:
    """The rise of WER in points; of another head's figure by how many points, or hundredths, it is worse."""
    lost = result.wer_rise if result.figure is None else result.figure.loss
    return None if lost is None else 100 * lost
