"""A benchmark in sentences: how the fastest variant of each engine compares with the references."""

from __future__ import annotations

from ...runtime import engines
from .report import BenchReport, BenchResult


def verdicts(report: BenchReport) -> list[str]:
    """One sentence for each engine's fastest result: its speed against the references, its WER, × real time."""
    seconds = report.reference_length
    if seconds is None:
        return []
    return [_verdict(report, result, seconds) for result in _fastest_of_each_engine(report, seconds)]


def _verdict(report: BenchReport, result: BenchResult, seconds: float) -> str:
    facts = []
    for label, other in _references(report, result):
        if other.name != result.name and (ratio := report.ratio(result, other, seconds)) is not None:
            facts.append(f"{ratio:.1f}× {label}" if ratio >= 0.95 else f"{ratio:.2f}× {label}")
    if result.wer_rise is not None:
        facts.append(f"WER {100 * result.wer_rise:+.1f}")
    elif result.wer is not None:
        facts.append(f"WER {100 * result.wer:.1f} %")
    elif (figure := result.figure) is not None:
        facts.append(f"{figure.title} {figure.shown if figure.change is None else figure.shown_change}")
    facts.append(f"{seconds / result.median(seconds):.3g}× real time")
    name = report.bundle_name(result)
    bundle = f" ({name})" if name else ""
    return f"{result.variant} on {result.engine_label}{bundle}: {', '.join(facts)}"


def _fastest_of_each_engine(report: BenchReport, seconds: float) -> list[BenchResult]:
    best: dict[tuple[str, str, str | None], BenchResult] = {}
    for result in report.results:
        key = (result.bundle, result.engine, result.device)
        if result.timing(seconds) and (key not in best or result.median(seconds) < best[key].median(seconds)):
            best[key] = result
    return sorted(best.values(), key=lambda result: result.median(seconds))


def _references(report: BenchReport, result: BenchResult) -> list[tuple[str, BenchResult]]:
    """The references that were measured, of the same bundle where possible; the baseline if it is another."""
    names = [(name, f"{name}/fp32") for name in engines.names(("reference",))]
    references = []
    for label, name in (*names, ("onnxruntime fp32", "onnxruntime/fp32")):
        other = report.same_bundle_first(result, name)
        if other is not None:
            references.append((label, other))
    baseline = report.baseline_for(result)
    if baseline is not None and all(baseline is not other for _, other in references):
        references.append((baseline.name, baseline))
    return references
