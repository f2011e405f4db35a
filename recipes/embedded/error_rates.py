"""Error rates of the recipe's transcripts, corpus by corpus; edits and intervals are the package's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from wav2edge.measure.figures.bootstrap import DRAWS
from wav2edge.measure.scoring import Edits, character_edits, rate, word_edits


class Transcribed(NamedTuple):
    """One clip as transcribed: its corpus, what was said and what the model wrote."""

    corpus: str
    reference: str
    hypothesis: str


class Rates(TypedDict, total=False):
    """Rates of one corpus in percent; intervals are [low, high], 95 %, over clips."""

    clips: int
    wer: float
    wer_interval: list[float]
    cer: float
    cer_interval: list[float]
    exact: float
    exact_interval: list[float]


def error_rates(transcribed: Sequence[Transcribed], intervals: bool = False) -> dict[str, Rates]:
    """Return WER, CER and the share of exact transcripts of each corpus, with 95 % intervals where asked for."""
    return {
        corpus: _rates([row for row in transcribed if row.corpus == corpus], intervals)
        for corpus in sorted({row.corpus for row in transcribed})
    }


def mean_wer(rates: dict[str, Rates]) -> float:
    """Return the mean WER over corpora, each counted once, in percent."""
    return sum(row["wer"] for row in rates.values()) / len(rates)


def _rates(rows: Sequence[Transcribed], intervals: bool) -> Rates:
    edits = {
        "wer": [word_edits(row.reference, row.hypothesis) for row in rows],
        "cer": [character_edits(row.reference, row.hypothesis) for row in rows],
        "exact": [Edits(1, int(row.reference == row.hypothesis), 0, 0) for row in rows],
    }
    entry: dict[str, float | list[float]] = {"clips": len(rows)}
    for name, counts in edits.items():
        found = rate(counts, draws=DRAWS if intervals else 1)
        entry[name] = round(100 * found.value, 2)
        if intervals and len(rows) > 1:
            entry[name + "_interval"] = [round(100 * found.low, 2), round(100 * found.high, 2)]
    return Rates(**entry)  # type: ignore[typeddict-item]
