"""A benchmark as text, Markdown and CSV, and two of them side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ...runtime import escape
from .report import CellResult, Report, Skipped, grouped, verdicts

NAMES = ("bundle", "engine", "variant")
"""Columns of words; the others hold numbers."""

_DASH = "–"
_COLUMNS = (
    *("bundle", "engine", "variant", "device", "threads", "seconds", "runs", "p50", "p95", "p99", "first", "rtf"),
    *("ratio", "ratio_low", "ratio_high", "load", "memory", "device_memory", "joules_per_second", "wer"),
    *("wer_rise", "file_bytes"),
)


def text_table(report: Report) -> str:
    """The table for a terminal: one line for each cell, then the verdicts."""
    header, rows = table(report)
    lines = _aligned(header, rows, absent(report))
    return "\n".join([*heading(report), "", *lines, "", *verdicts(report), *footnotes(report)])


def markdown(report: Report) -> str:
    """The table and the verdicts as Markdown."""
    header, rows = table(report)
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join('---' if name in NAMES else '---:' for name in header)}|"]
    rows += [[*names, why, *[""] * (len(header) - len(names) - 1)] for names, why in absent(report)]
    lines += [f"| {' | '.join(map(escape.markdown, row))} |" for row in rows]
    sentences = [f"- {escape.markdown(line)}" for line in (*verdicts(report), *footnotes(report))]
    return "\n".join(["  \n".join(map(escape.markdown, heading(report))), "", *lines, "", *sentences, ""])


def comma_separated(report: Report) -> str:
    """One line for each cell and length, with plain numbers in seconds, bytes and fractions."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for cell in report.cells:
        for timing in cell.timings:
            ratio = report.ratio(cell, report.baseline_for(cell), timing.seconds)
            low, high = report.ratio_range(cell, timing.seconds) or (None, None)
            ratios = ("" if value is None else round(value, 4) for value in (ratio, low, high))
            values = [
                *(cell.bundle, cell.engine, cell.variant, cell.device or "", cell.threads, timing.seconds),
                *(len(timing.times), *(round(timing.percentile(share), 6) for share in (50, 95, 99))),
                *(round(timing.first, 6), round(timing.rtf, 6), *ratios, round(cell.load, 4)),
                *(cell.memory, cell.device_memory, cell.energy, cell.wer, cell.wer_rise, cell.file_bytes),
            ]
            writer.writerow([_csv_value(value) for value in values])
    return output.getvalue()


def _csv_value(value: str | float | None) -> str | float:
    return "" if value is None else escape.csv_cell(value) if isinstance(value, str) else value


def heading(report: Report) -> list[str]:
    """What machine this is and how it was measured, in two lines."""
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


def compare(first: Report, second: Report, names: tuple[str, str]) -> str:
    """Two reports side by side: the cells and lengths that both measured, medians and how much faster the second is."""
    header = ["engine", "variant", "audio", names[0], names[1], "second is"]
    # A ratio is carried from machine to machine only where both took it to the same baseline.
    ratios = first.baseline is not None and first.baseline == second.baseline
    header += [f"ratio in {name}" for name in names] if ratios else []
    rows = []
    for cell in first.cells:
        same = [c for c in second.cells if c.name == cell.name]
        other = next((c for c in same if Path(c.bundle).name == Path(cell.bundle).name), same[0] if same else None)
        if other is None:
            continue
        for timing in cell.timings:
            seconds, theirs = timing.seconds, other.timing(timing.seconds)
            if theirs is not None:
                ours, median = timing.percentile(50), theirs.percentile(50)
                row = [_engine(cell), cell.variant, f"{seconds:g} s", _ms(ours), _ms(median), f"{ours / median:.2f}×"]
                row += [_ratio(first, cell, seconds), _ratio(second, other, seconds)] if ratios else []
                rows.append(row)
    if not rows:
        return "The two reports have no cell and length in common."
    lines = _aligned(header, rows)
    only = [f"only in {name}: {', '.join(missing)}" for name, missing in _unshared(first, second, names) if missing]
    machines = [f"{name}: {'; '.join(heading(report))}" for name, report in zip(names, (first, second))]
    return "\n".join([*machines, "", *lines, "", *only]).rstrip()


def table(report: Report) -> tuple[list[str], list[list[str]]]:
    """The header and a row for each cell; columns that nothing was measured for are left out."""
    lengths = report.lengths
    several = len({cell.bundle for cell in report.cells}) > 1
    columns: list[tuple[str, list[str]]] = []
    cells = report.cells
    if several:
        columns.append(("bundle", [Path(cell.bundle).name for cell in cells]))
    columns.append(("engine", [_engine(cell) for cell in cells]))
    columns.append(("variant", [cell.variant for cell in cells]))
    for seconds in lengths:
        values = [_cell_ms(cell, seconds, 50) for cell in cells]
        columns.append((f"{seconds:g} s p50", values))
    reference = report.reference_length
    if reference is not None:
        for share in (95, 99):
            columns.append((f"{reference:g} s p{share}", [_cell_ms(cell, reference, share) for cell in cells]))
        timings = [cell.timing(reference) for cell in cells]
        columns.append(("RTF", [f"{t.rtf:.3f}" if t else _DASH for t in timings]))
        columns.append(("ratio", [_ratio(report, cell, reference) for cell in cells]))
        columns.append(
            (f"{lengths[0]:g} s first", [_ms(cell.timings[0].first) if cell.timings else _DASH for cell in cells])
        )
    columns.append(("load", [f"{cell.load:.1f} s" for cell in cells]))
    columns.append(("memory", [_mb(cell.memory) for cell in cells]))
    columns.append(("GPU memory", [_mb(cell.device_memory) for cell in cells]))
    columns.append(("J per s", [f"{cell.energy:.2f}" if cell.energy is not None else _DASH for cell in cells]))
    columns.append(("WER", [f"{100 * cell.wer:.1f} %" if cell.wer is not None else _DASH for cell in cells]))
    rises = [f"{100 * cell.wer_rise:+.1f}" if cell.wer_rise is not None else _DASH for cell in cells]
    columns.append(("WER rise", rises))
    kept = [(name, values) for name, values in columns if any(value != _DASH for value in values)]
    return [name for name, _ in kept], [[values[i] for _, values in kept] for i in range(len(cells))]


def absent(report: Report) -> list[tuple[list[str], str]]:
    """Rows for the variants that an engine does not run here: the table's columns of names, and ``not here: why``."""
    measured = {cell.name for cell in report.cells}
    several = len({cell.bundle for cell in report.cells}) > 1
    rows = []
    for skipped in dict.fromkeys(report.skipped):
        engine, _, variant = skipped.name.partition("/")
        if _is_row(skipped) and skipped.name not in measured:
            rows.append(([*([""] if several else []), engine, variant], f"not here: {skipped.reason}"))
    return rows


def footnotes(report: Report) -> list[str]:
    """What else to know: notes, where energy comes from, and which engines were not measured and why."""
    lines = list(report.notes)
    seconds = report.reference_length
    if (
        report.baseline
        and seconds is not None
        and any(t.ratios for cell in report.cells if (t := cell.timing(seconds)))
    ):
        lines.insert(
            0,
            f"ratio: how many times faster than {report.baseline} for {seconds:g} s of audio; the median over turns, "
            "each between two turns of it; ± spans the middle half of them",
        )
    if report.energy_source:
        lines.append(f"energy: {report.energy_source}")
    measured = {cell.name for cell in report.cells}
    rest = (skipped for skipped in report.skipped if skipped.name in measured or not _is_row(skipped))
    lines += [f"not measured: {line}" for line in grouped(rest)]
    return lines


def _is_row(skipped: Skipped) -> bool:
    """Whether it is a variant of an engine; otherwise it is an engine as a whole, or the words of a cell."""
    return "/" in skipped.name and "," not in skipped.name


def _aligned(header: list[str], rows: list[list[str]], sentences: Sequence[tuple[list[str], str]] = ()) -> list[str]:
    """Columns of names to the left, of numbers to the right, a rule under the header, sentences behind their names."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for names, _ in sentences:
        widths[: len(names)] = [max(width, len(name)) for width, name in zip(widths, names)]
    lines = []
    for row in (header, *rows):
        padded = [
            cell.ljust(width) if name in NAMES else cell.rjust(width) for name, cell, width in zip(header, row, widths)
        ]
        lines.append("  ".join(padded).rstrip())
    ends = ["  ".join([*(n.ljust(w) for n, w in zip(names, widths)), text]) for names, text in sentences]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:], *ends]


def _unshared(first: Report, second: Report, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    a, b = ({cell.name for cell in report.cells} for report in (first, second))
    return [(names[0], sorted(a - b)), (names[1], sorted(b - a))]


def _engine(cell: CellResult) -> str:
    return f"{cell.engine} ({cell.device})" if cell.device else cell.engine


def _cell_ms(cell: CellResult, seconds: float, share: float) -> str:
    timing = cell.timing(seconds)
    return _ms(timing.percentile(share)) if timing else _DASH


def _ratio(report: Report, cell: CellResult, seconds: float) -> str:
    """As ``6.29× ± 0.08``: half the width of the middle half, where the ratio was taken turn by turn."""
    ratio = report.ratio(cell, report.baseline_for(cell), seconds)
    if ratio is None:
        return _DASH
    middle = report.ratio_range(cell, seconds)
    return f"{ratio:.2f}×" + (f" ± {(middle[1] - middle[0]) / 2:.2f}" if middle else "")


def _ms(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"


def _mb(size: int | None) -> str:
    return _DASH if size is None else f"{size / 1e6:.0f} MB"
