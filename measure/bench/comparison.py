"""Two benchmarks side by side: what both measured, how much faster the second is, and what only one of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ...runtime import escape
from .. import names as short_names
from .. import tables
from .report import BenchReport, BenchResult
from .table import heading, milliseconds, shown_ratio


@dataclass(frozen=True)
class ResultPair:
    """What two reports measured of one engine and variant; their bundles may have different names."""

    first: BenchResult
    second: BenchResult

    @property
    def lengths(self) -> list[float]:
        """The lengths that both measured, in seconds of audio."""
        return [timing.seconds for timing in self.first.timings if self.second.timing(timing.seconds)]


def compare(first: BenchReport, second: BenchReport, names: tuple[str, str]) -> str:
    """Two reports side by side: medians of what both measured, how much faster the second is, and what one has alone.

    names: of the reports. Bundles are named unless all have one name; both are, where two of different names are
    compared.
    """
    found = pairs(first, second)
    short = [short_names.apart(result.bundle for result in report.results) for report in (first, second)]
    several = len({*short[0].values(), *short[1].values()}) > 1
    alone = []
    for name, report, of_bundle in zip(names, (first, second), short):
        if left := _unpaired(report.results, found, of_bundle if several else {}):
            alone.append(escape.one_line(f"only in {name}: {', '.join(left)}"))
    if not any(pair.lengths for pair in found):
        return "\n".join(["The two reports have no configuration and length in common.", *alone])
    titles, bundles = _bundles(found, short, names, several)
    header, rows = _table(first, second, names, found)
    cells = [[*bundles[number], *row] for number, row in rows]
    lines = tables.table([*titles, *header], [list(map(escape.one_line, row)) for row in cells], indent="").splitlines()
    machines = [f"{name}: {'; '.join(heading(report))}" for name, report in zip(names, (first, second))]
    return "\n".join([*map(escape.one_line, machines), "", *lines, "", *alone]).rstrip()


def pairs(first: BenchReport, second: BenchReport) -> list[ResultPair]:
    """Each result of the first report whose engine, variant and device the second has too, in order.

    Results of one path of a bundle belong together before those of one name, and these before those of other bundles: a
    bundle that was moved has another path in the second report.
    """
    free = list(second.results)
    found: dict[int, BenchResult] = {}
    for alike in (_same_path, _same_name, _same_configuration):
        for number, result in enumerate(first.results):
            other = next((one for one in free if _same_configuration(result, one) and alike(result, one)), None)
            if number not in found and other is not None:
                found[number] = other
                free = [one for one in free if one is not other]
    return [ResultPair(first.results[number], found[number]) for number in sorted(found)]


def _same_path(first: BenchResult, second: BenchResult) -> bool:
    return first.bundle == second.bundle


def _same_name(first: BenchResult, second: BenchResult) -> bool:
    return PurePath(first.bundle).name == PurePath(second.bundle).name


def _same_configuration(first: BenchResult, second: BenchResult) -> bool:
    return first.name == second.name


def _unpaired(results: Sequence[BenchResult], found: Sequence[ResultPair], bundles: Mapping[str, str]) -> list[str]:
    """What a report has alone, as ``openvino/bf16``, or ``openvino/fp32 at 5 s and 30 s`` where that is only lengths.

    bundles: the name of each bundle, where it is to be shown.
    """
    partners = {id(pair.first): pair.second for pair in found} | {id(pair.second): pair.first for pair in found}
    alone = []
    for result in results:
        name = " ".join([*([bundles[result.bundle]] if bundles else []), result.name])
        other = partners.get(id(result))
        if other is None:
            alone.append(name)
        elif lengths := [f"{t.seconds:g} s" for t in result.timings if other.timing(t.seconds) is None]:
            alone.append(f"{name} at {' and '.join(lengths)}")
    return alone


def _bundles(
    found: Sequence[ResultPair], short: Sequence[Mapping[str, str]], names: Sequence[str], several: bool
) -> tuple[list[str], list[tuple[str, ...]]]:
    """The columns of bundles: their titles, and the names for each pair."""
    cells = [(short[0][pair.first.bundle], short[1][pair.second.bundle]) for pair in found]
    if any(one != other for one, other in cells):
        return [f"bundle in {name}" for name in names], [*cells]
    return (["bundle"], [cell[:1] for cell in cells]) if several else ([], [() for _ in cells])


def _table(
    first: BenchReport, second: BenchReport, names: Sequence[str], found: Sequence[ResultPair]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The titles of the other columns, and the number of the pair and the cells of each row."""
    # Ratios of two machines can be compared only where both are to the same baseline.
    ratios = first.baseline is not None and first.baseline == second.baseline
    header = ["engine", "variant", "audio", *names, "second is"]
    header += [f"ratio in {name}" for name in names] if ratios else []
    rows = []
    for number, pair in enumerate(found):
        for seconds in pair.lengths:
            ours, theirs = pair.first.median(seconds), pair.second.median(seconds)
            row = [pair.first.engine_label, pair.first.variant, f"{seconds:g} s"]
            row += [milliseconds(ours), milliseconds(theirs), f"{ours / theirs:.2f}×"]
            if ratios:
                row += [shown_ratio(first, pair.first, seconds), shown_ratio(second, pair.second, seconds)]
            rows.append((number, row))
    return header, rows
