"""The tables of benchmarks/peers.py as Markdown, and what is expected beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence

from wav2edge.calibration.gate import Budget
from wav2edge.measure import scoring

from .rows import OUR_FP32, OUR_INT8, OURS, Result, Turn, median_ratio

BAR_PEERS, BAR_PRODUCTS, BAR_INT8 = 0.72, 1.25, 0.32
"""wav2edge's share at 10 s of a peer's time and of its own products', and of ONNX Runtime's INT8 of its FP32."""


def table(
    results: Sequence[Result], lengths: Sequence[float], expected: Sequence[str], spoken: Sequence[str]
) -> list[str]:
    """The Markdown lines of a checkpoint's table.

    expected: the texts of the reference, spoken: what is said in the clips; both empty where words mean nothing.
    """
    at = compared(lengths)
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
    other = sum(map(_differs, result.texts, expected))
    words = "another model" if result.row.other_model else f"{other} of {len(expected)}"
    return [words, f"{100 * _error_rate(result.texts, spoken):.1f}"]


def _differs(text: str, reference: str) -> bool:
    return scoring.normalize(text) != scoring.normalize(reference)


def _error_rate(texts: Sequence[str], spoken: Sequence[str]) -> float:
    pairs = [(scoring.normalize(said), scoring.normalize(text)) for said, text in zip(spoken, texts)]
    edits = [scoring.word_edits(*pair) for pair in pairs]
    return sum(edit.errors for edit in edits) / max(1, sum(edit.length for edit in edits))


def keeping_words(results: Sequence[Result], expected: Sequence[str], spoken: Sequence[str]) -> frozenset[str]:
    """The names of the rows whose words err no more often than the gate allows a variant, compared with the reference.

    expected, spoken: as in ``table``.
    """
    most = _error_rate(expected, spoken) + Budget().max_wer_rise / 100
    return frozenset(r.row.name for r in results if r.texts and _error_rate(r.texts, spoken) <= most)


def bars(
    results: Sequence[Result],
    lengths: Sequence[float],
    products: Mapping[Turn, float],
    keeping: Collection[str] | None,
) -> list[str]:
    """What is expected, and what was measured.

    products: seconds that the products of the compared clip take at the machine's INT8 peak of each turn.
    keeping: the rows that keep the words of a checkpoint whose words mean something; None: not measured.
    """
    at = compared(lengths)
    by_row = {result.row: result for result in results}
    ours, lines = by_row[OURS], []
    shares = {
        result.row.name: share
        for result in results
        if result.row.source == "checkpoint" and not result.row.other_model and (share := ours.share(result, at))
    }
    for whose, names in ("", shares), (" of those that keep the embedded checkpoint's words", keeping):
        among = {name: share for name, share in shares.items() if name in (names or ())}
        if among:
            fastest = max(among, key=among.__getitem__)
            what = f"wav2edge's time of the fastest peer's{whose} ({fastest}), {at:g} s"
            lines.append(_bar(what, among[fastest], BAR_PEERS))
    if (share := median_ratio(ours.times.get(at, {}), products)) is not None:
        usual = 1000 * statistics.median(products.values())
        what = f"wav2edge's time of its products' at the INT8 peak, {usual:.0f} ms, {at:g} s"
        lines.append(_bar(what, share, BAR_PRODUCTS))
    if OUR_INT8 in by_row and OUR_FP32 in by_row and (share := by_row[OUR_INT8].share(by_row[OUR_FP32], at)):
        lines.append(_bar(f"ONNX Runtime's INT8 of its FP32, {at:g} s", share, BAR_INT8))
    return lines


def _bar(what: str, value: float, bar: float) -> str:
    return f"* {what}: {value:.3f} (expected: at most {bar:g}), {'met' if value <= bar else 'missed'}"


def compared(lengths: Sequence[float]) -> float:
    """The length, in seconds, at which times are compared."""
    return 10.0 if 10.0 in lengths else lengths[-1]
