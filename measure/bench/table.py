"""A benchmark as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from ...runtime import escape
from .. import tables
from .report import BenchReport, BenchResult, Skipped, grouped
from .verdicts import verdicts

NAMES = ("bundle", "engine", "variant")
"""Columns of words; the others hold numbers."""

_DASH = "–"
_COLUMNS = (
    *("bundle", "engine", "variant", "device", "threads", "seconds", "runs", "p50", "p95", "p99", "first", "rtf"),
    *("ratio", "ratio_low", "ratio_high", "load", "memory", "device_memory", "joules_per_second", "wer"),
    *("wer_rise", "file_bytes", "figure", "value", "change"),
)


def text_table(report: BenchReport) -> str:
    """The table for a terminal: one line for each configuration, then the verdicts."""
    header, rows = table(report)
    lines = tables.table(header, rows, indent="", sentences=absent(report)).splitlines()
    around = [*heading(report), "", *lines, "", *verdicts(report), *footnotes(report)]
    return "\n".join(map(escape.one_line, around))


def markdown(report: BenchReport) -> str:
    """The table and the verdicts as Markdown."""
    header, rows = table(report)
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join('---' if name in NAMES else '---:' for name in header)}|"]
    rows += [[*names, why, *[""] * (len(header) - len(names) - 1)] for names, why in absent(report)]
    lines += [f"| {' | '.join(map(escape.markdown, row))} |" for row in rows]
    sentences = [f"- {escape.markdown(line)}" for line in (*verdicts(report), *footnotes(report))]
    return "\n".join(["  \n".join(map(escape.markdown, heading(report))), "", *lines, "", *sentences, ""])


def comma_separated(report: BenchReport) -> str:
    """One line for each configuration and length, with plain numbers in seconds, bytes and fractions."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in report.results:
        for timing in result.timings:
            ratio = report.ratio(result, report.baseline_for(result), timing.seconds)
            low, high = report.ratio_range(result, timing.seconds) or (None, None)
            ratios = ("" if value is None else round(value, 4) for value in (ratio, low, high))
            values = [
                *(result.bundle, result.engine, result.variant, result.device or "", result.threads, timing.seconds),
                *(len(timing.times), *(round(timing.percentile(share), 6) for share in (50, 95, 99))),
                *(round(timing.first, 6), round(timing.rtf, 6), *ratios, round(result.load, 4)),
                *(result.memory, result.device_memory, result.energy, result.wer, result.wer_rise, result.file_bytes),
                *((figure.name, figure.value, figure.change) if (figure := result.figure) else ("", None, None)),
            ]
            writer.writerow([_csv_value(value) for value in values])
    return output.getvalue()


def _csv_value(value: str | float | None) -> str | float:
    return "" if value is None else escape.csv_cell(value) if isinstance(value, str) else value


def heading(report: BenchReport) -> list[str]:
    """The machine and the settings of the measurement, in two lines."""
    machine = report.machine
    cpu = machine.get("cpu") or {}
    names = [machine.get("model"), cpu.get("name"), *(gpu.get("name") for gpu in machine.get("gpus") or ())]
    threads = "/".join(map(str, report.settings.get("threads") or ())) or "?"
    mode = report.settings.get("power_mode")
    first = ", ".join(str(name) for name in names if name) or "this machine"
    parts = [f"{threads} threads", f"power mode {mode}" if mode else "power mode unknown", "batch 1"]
    if report.baseline:
        parts.append(f"ratio to {report.baseline}")
    return [first, f"{', '.join(parts)}, {report.created[:10]}"]


def table(report: BenchReport) -> tuple[list[str], list[list[str]]]:
    """The header and a row for each result; columns without a measurement are left out."""
    lengths = report.lengths
    columns: list[tuple[str, list[str]]] = []
    results = report.results
    if report.several_bundles:
        columns.append(("bundle", [report.bundle_name(result) for result in results]))
    columns.append(("engine", [result.engine_label for result in results]))
    columns.append(("variant", [result.variant for result in results]))
    for seconds in lengths:
        values = [_percentile(result, seconds, 50) for result in results]
        columns.append((f"{seconds:g} s p50", values))
    reference = report.reference_length
    if reference is not None:
        for share in (95, 99):
            columns.append((f"{reference:g} s p{share}", [_percentile(result, reference, share) for result in results]))
        timings = [result.timing(reference) for result in results]
        columns.append(("RTF", [f"{t.rtf:.3f}" if t else _DASH for t in timings]))
        columns.append(("ratio", [shown_ratio(report, result, reference) for result in results]))
        first = [result.timings[0].first if result.timings else None for result in results]
        columns.append((f"{lengths[0]:g} s first", [_or_dash(time, milliseconds) for time in first]))
    columns.append(("load", [f"{result.load:.1f} s" for result in results]))
    columns.append(("memory", [_or_dash(result.memory, _mb) for result in results]))
    columns.append(("GPU memory", [_or_dash(result.device_memory, _mb) for result in results]))
    columns.append(("J per s", [_or_dash(result.energy, "{:.2f}".format) for result in results]))
    columns.append(("WER", [_or_dash(result.wer, lambda wer: f"{100 * wer:.1f} %") for result in results]))
    columns.append(("WER rise", [_or_dash(result.wer_rise, lambda rise: f"{100 * rise:+.1f}") for result in results]))
    for title in dict.fromkeys(result.figure.title for result in results if result.figure):
        own = [result.figure if result.figure and result.figure.title == title else None for result in results]
        columns.append((title, [figure.shown if figure else _DASH for figure in own]))
        columns.append((f"{title} change", [figure.shown_change if figure else _DASH for figure in own]))
    kept = [(name, values) for name, values in columns if any(value != _DASH for value in values)]
    return [name for name, _ in kept], [[values[i] for _, values in kept] for i in range(len(results))]


def absent(report: BenchReport) -> list[tuple[list[str], str]]:
    """Rows for the variants that an engine does not run here: the table's columns of names, and ``not here: why``."""
    measured = {result.name for result in report.results}
    rows = []
    for skipped in dict.fromkeys(report.skipped):
        engine, _, variant = skipped.name.partition("/")
        if _is_row(skipped) and skipped.name not in measured:
            rows.append(([*([""] if report.several_bundles else []), engine, variant], f"not here: {skipped.reason}"))
    return rows


def footnotes(report: BenchReport) -> list[str]:
    """Notes below the table: the source of energy figures, and engines that were not measured, with the reasons."""
    lines = list(report.notes)
    seconds = report.reference_length
    if (
        report.baseline
        and seconds is not None
        and any(t.ratios for result in report.results if (t := result.timing(seconds)))
    ):
        lines.insert(
            0,
            f"ratio: how many times faster than {report.baseline} for {seconds:g} s of audio; the median over "
            "undisturbed turns, each between two turns of the baseline; ± is half the width of the middle half",
        )
    if report.energy_source:
        lines.append(f"energy: {report.energy_source}")
    measured = {result.name for result in report.results}
    rest = (skipped for skipped in report.skipped if skipped.name in measured or not _is_row(skipped))
    lines += [f"not measured: {line}" for line in grouped(rest)]
    return lines


def _is_row(skipped: Skipped) -> bool:
    """Whether it is a variant of an engine; otherwise it is an engine as a whole, or one figure of a result."""
    return "/" in skipped.name and "," not in skipped.name


def _percentile(result: BenchResult, seconds: float, share: float) -> str:
    timing = result.timing(seconds)
    return milliseconds(timing.percentile(share)) if timing else _DASH


def shown_ratio(report: BenchReport, result: BenchResult, seconds: float) -> str:
    """As ``6.29× ± 0.08``: half the width of the middle half, where the ratio was taken turn by turn."""
    ratio = report.ratio(result, report.baseline_for(result), seconds)
    if ratio is None:
        return _DASH
    middle = report.ratio_range(result, seconds)
    return f"{ratio:.2f}×" + (f" ± {(middle[1] - middle[0]) / 2:.2f}" if middle else "")


def milliseconds(seconds: float) -> str:
    """As ``6.29 ms``, with two digits or three."""
    ms = seconds * 1e3
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


def _or_dash(value: float | None, written: Callable[[float], str]) -> str:
    return _DASH if value is None else written(value)
