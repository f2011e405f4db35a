"""The JSON that ``bench --json`` writes, and how it is read back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict, cast

from ...runtime import documents
from ...runtime.errors import InputError
from ..figures import Name
from .report import BenchReport, BenchResult, MachineDocument, ResultFigure, Settings, Skipped, Timing

FORMAT = 2
_WHAT = "a benchmark that `wav2edge bench --json` wrote"
_SHORTEST, _LONGEST = 1e-9, 1e9
"""Bounds of times and lengths in seconds: no run is outside of them, and their quotients are finite."""


class TimingDocument(TypedDict):
    """Runs at one length of audio. All times in seconds; see ``report.Timing``. The percentiles are of ``times``."""

    seconds: float
    first: float
    times: list[float]
    triples: list[list[float]]
    runs: int
    p50: float
    p95: float
    p99: float
    rtf: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


class FigureDocument(TypedDict):
    """A head's figure; see ``report.ResultFigure``."""

    name: Name
    value: float | None
    low: float | None
    high: float | None
    change: float | None
    loss: float | None


class _ResultRequired(TypedDict):
    name: str
    bundle: str
    engine: str
    variant: str
    threads: int
    device: str | None
    precision: str
    file_bytes: int | None
    load: float
    timings: list[TimingDocument]
    memory: int | None
    device_memory: int | None
    energy: float | None
    wer: float | None
    wer_low: float | None
    wer_high: float | None
    wer_rise: float | None


class ResultDocument(_ResultRequired, total=False):
    """A configuration and what was measured of it; see ``report.BenchResult``. Older documents have no ``figure``."""

    figure: FigureDocument | None


class SkippedDocument(TypedDict):
    """What was not measured, and why."""

    name: str
    reason: str


class _BenchRequired(TypedDict):
    format: int
    created: str
    machine: MachineDocument
    versions: dict[str, str]
    settings: Settings
    baseline: str | None
    energy_source: str | None
    results: list[ResultDocument]
    skipped: list[SkippedDocument]
    notes: list[str]


class BenchDocument(_BenchRequired, total=False):
    """A whole benchmark. machine: as ``wav2edge devices --json`` describes it.

    problems: a line for each row of the manifest that could not be used. Older documents do not have it.
    """

    problems: list[str]


def to_json(report: BenchReport) -> BenchDocument:
    """Plain JSON values, the percentiles beside the times they come from."""
    return {
        "format": FORMAT,
        "created": report.created,
        "machine": report.machine,
        "versions": dict(report.versions),
        "settings": report.settings,
        "baseline": report.baseline,
        "energy_source": report.energy_source,
        "results": [_result(report, result) for result in report.results],
        "skipped": [{"name": skipped.name, "reason": skipped.reason} for skipped in report.skipped],
        "notes": list(report.notes),
        "problems": list(report.problems),
    }


def _result(report: BenchReport, result: BenchResult) -> ResultDocument:
    values = dataclasses.asdict(result)
    values["timings"] = [_timing(report, result, timing) for timing in result.timings]
    return cast(ResultDocument, {"name": result.name, **values})


def _timing(report: BenchReport, result: BenchResult, timing: Timing) -> TimingDocument:
    low, high = report.ratio_range(result, timing.seconds) or (None, None)
    return {
        "seconds": timing.seconds,
        "first": timing.first,
        "times": _rounded(timing.times),
        "triples": [_rounded(triple) for triple in timing.triples],
        "runs": len(timing.times),
        "p50": round(timing.percentile(50), 6),
        "p95": round(timing.percentile(95), 6),
        "p99": round(timing.percentile(99), 6),
        "rtf": round(timing.rtf, 5),
        "ratio": _ratio(report.ratio(result, report.baseline_for(result), timing.seconds)),
        "ratio_low": _ratio(low),
        "ratio_high": _ratio(high),
    }


def _rounded(times: Iterable[float]) -> list[float]:
    return [round(time, 6) for time in times]


def _ratio(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def from_json(values: object, where: str = f"not {_WHAT}") -> BenchReport:
    """Read what ``to_json`` wrote; raises InputError, naming the field, for anything else."""
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise InputError(f"benchmark format {version} is newer than this wav2edge reads; upgrade it")
    document = documents.check(values, BenchDocument, where)
    if version != FORMAT:
        raise InputError(f"{where} (format {version}, this wav2edge reads {FORMAT}; measure again)")
    if not document["results"]:
        raise InputError(f"{where} (it has no results)")
    return BenchReport(
        machine=document["machine"],
        versions=document["versions"],
        results=tuple(_read_result(result, where) for result in document["results"]),
        skipped=tuple(Skipped(skipped["name"], skipped["reason"]) for skipped in document["skipped"]),
        baseline=document["baseline"],
        energy_source=document["energy_source"],
        created=document["created"],
        settings=document["settings"],
        notes=tuple(document["notes"]),
        problems=tuple(document.get("problems", ())),
    )


def _read_result(result: ResultDocument, where: str) -> BenchResult:
    inside = f"{where} ({result['name'][:40]}"
    timings = tuple(_read_timing(timing, inside) for timing in result["timings"])
    given = result.get("figure")
    _check_finite(result, inside)
    _check_finite(given or {}, inside)
    if not 0 <= result["load"] <= _LONGEST:
        raise InputError(f"{inside}: load must be from 0 to {_LONGEST:g} s)")
    figure = None if given is None else documents.build(ResultFigure, given)
    known = {field.name for field in dataclasses.fields(BenchResult)} - {"timings", "figure"}
    values = {key: value for key, value in result.items() if key in known}
    return BenchResult(timings=timings, figure=figure, **values)  # type: ignore[arg-type]


def _read_timing(timing: TimingDocument, where: str) -> Timing:
    triples = [tuple(triple) for triple in timing["triples"]]
    numbers = [timing["seconds"], timing["first"], *timing["times"], *(time for triple in triples for time in triple)]
    if not timing["times"] or any(len(triple) != 3 for triple in triples):
        raise InputError(f"{where}: a length needs times, and triples of three)")
    if not all(_SHORTEST <= number <= _LONGEST for number in numbers):
        raise InputError(f"{where}: times must be above 0: from {_SHORTEST:g} to {_LONGEST:g} s)")
    return Timing(
        timing["seconds"],
        timing["first"],
        tuple(timing["times"]),
        cast("tuple[tuple[float, float, float], ...]", tuple(triples)),
    )


def _check_finite(values: Mapping[str, object], where: str) -> None:
    """Raise InputError, naming the field, for NaN and infinite numbers."""
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}: {name} must be a finite number)")


def read(path: Path) -> BenchReport:
    """Read a report that ``bench --json`` wrote; raises InputError."""
    values = documents.read(path, cast("type[dict[str, object]]", dict[str, object]), _WHAT)
    return from_json(values, f"{path}: not {_WHAT}")
