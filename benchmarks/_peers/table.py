"""The tables of benchmarks/peers.py as Markdown, and what is expected beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from wav2edge.measure import scoring

from .rows import OUR_FP32, OUR_INT8, OURS, Result

BAR_PEERS, BAR_INT8 = 0.72, 0.32
"""wav2edge's share of the fastest peer's time at 10 s, and of ONNX Runtime's INT8 of its FP32."""


def table(
    results: Sequence[Result], lengths: Sequence[float], expected: Sequence[str], spoken: Sequence[str]
) -> list[str]:
    """The Markdown lines of a checkpoint's table.

    expected: the texts of the reference, spoken: what is said in the clips; both empty where words mean nothing.
    """
    at = _at(lengths)
    ours = next(result for result in results if result.row is OURS)
    columns = ["", *(f"{length:g} s" for length in lengths), f"wav2edge takes, of {at:g} s"]
    columns += ["mixed files, × real time", "MB above start", "MB"]
    columns += ["other words", "WER %"] if spoken else []
    lines = [f"| {' | '.join([*columns, 'why not'])} |", "|---" * (len(columns) + 1) + "|"]
    for result in results:
        cells = [result.row.name]
        for length in lengths:
            taken = [1000 * seconds for seconds in result.times.get(length, {}).values()]
            cells.append(f"{statistics.median(taken):.0f} ({min(taken):.0f})" if taken else "–")
        share = ours.share(result, at)
        cells.append(f"{share:.2f}" if share else "–")
        cells.append(f"{result.mixed:.1f}" if result.mixed else "–")
        cells += [f"{value / 1e6:.0f}" if value else "–" for value in (result.above, result.peak)]
        cells += _words(result, expected, spoken) if spoken else []
        lines.append(f"| {' | '.join([*cells, result.reason.replace('|', ' ')[:160]])} |")
    return lines


def _words(result: Result, expected: Sequence[str], spoken: Sequence[str]) -> list[str]:
    """In how many clips the words differ from the reference's, and the rate of errors."""
    if not result.texts:
        return ["–", "–"]
    pairs = [(scoring.normalize(text), scoring.normalize(said)) for text, said in zip(result.texts, spoken)]
    other = sum(text != scoring.normalize(reference) for (text, _), reference in zip(pairs, expected))
    edits = [scoring.word_edits(said, text) for text, said in pairs]
    rate = sum(edit.errors for edit in edits) / max(1, sum(edit.length for edit in edits))
    return ["another model" if result.row.other_model else f"{other} of {len(expected)}", f"{100 * rate:.1f}"]


def bars(results: Sequence[Result], lengths: Sequence[float]) -> list[str]:
    """What is expected, and what was measured."""
    at = _at(lengths)
    by_row = {result.row: result for result in results}
    ours, lines = by_row[OURS], []
    shares = {
        result.row.name: share
        for result in results
        if result.row.source == "checkpoint" and not result.row.other_model and (share := ours.share(result, at))
    }
    if shares:
        fastest = max(shares, key=shares.__getitem__)
        lines.append(_bar(f"wav2edge's time of the fastest peer's ({fastest}), {at:g} s", shares[fastest], BAR_PEERS))
    if OUR_INT8 in by_row and OUR_FP32 in by_row and (share := by_row[OUR_INT8].share(by_row[OUR_FP32], at)):
        lines.append(_bar(f"ONNX Runtime's INT8 of its FP32, {at:g} s", share, BAR_INT8))
    return lines


def _bar(what: str, value: float, bar: float) -> str:
    return f"* {what}: {value:.2f} (expected: at most {bar:g}), {'met' if value <= bar else 'missed'}"


def _at(lengths: Sequence[float]) -> float:
    return 10.0 if 10.0 in lengths else lengths[-1]
