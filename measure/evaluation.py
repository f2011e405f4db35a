"""Several systems on the same recordings: what each recognises, how fast, and how they score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..runtime.errors import InputError
from ..runtime.recordings.batch import transcribe_all
from ..runtime.recordings.transcriber import Transcriber
from . import scoring
from .manifest import Row

ALL = "all"
"""The name under which several corpora are reported together."""


@dataclass(frozen=True)
class System:
    """What is evaluated: a bundle's variant on an engine, decoded one way (``greedy``, ``lm`` …)."""

    bundle: str
    engine: str
    variant: str
    decoding: str = "greedy"


@dataclass(frozen=True)
class Hypotheses:
    """What a system recognised in each recording (None: it could not be used), and how long all of it took.

    seconds: of audio; elapsed: seconds that it took, reading the files included.
    """

    system: System
    texts: tuple[str | None, ...]
    seconds: float
    elapsed: float
    problems: tuple[str, ...]

    @property
    def speed(self) -> float:
        """How many times faster than real time."""
        return self.seconds / self.elapsed if self.elapsed > 0 else 0.0


@dataclass(frozen=True)
class Line:
    """A system's scores on one corpus (or ``all``)."""

    corpus: str
    system: int
    scores: scoring.Scores


@dataclass(frozen=True)
class Comparison:
    """A later system against the first on one corpus."""

    corpus: str
    system: int
    wer: scoring.Difference
    cer: scoring.Difference


@dataclass(frozen=True)
class Evaluation:
    """Every system's scores on the recordings that all of them could use.

    rows: those recordings; texts: what each system recognised in them, [system][recording].
    """

    rows: tuple[Row, ...]
    hypotheses: tuple[Hypotheses, ...]
    texts: tuple[tuple[str, ...], ...]
    lines: tuple[Line, ...]
    comparisons: tuple[Comparison, ...]
    normalization: str
    problems: tuple[str, ...]

    def worst(self, count: int) -> list[int]:
        """The recordings with the most word errors of the first system, the worst first; none without errors."""
        edits = next(line.scores.words for line in self.lines if len(line.scores.words) == len(self.rows))
        ranked = sorted(range(len(edits)), key=lambda i: (-edits[i].errors, -edits[i].errors / max(1, edits[i].length)))
        return [index for index in ranked[:count] if edits[index].errors]


def transcribe_rows(
    transcriber: Transcriber, system: System, rows: Sequence[Row], progress: Callable[[int], None] | None = None
) -> Hypotheses:
    """Run a system over recordings; ``progress`` is called with the number of those that are done."""
    texts: list[str | None] = []
    problems: list[str] = []
    seconds = 0.0
    started = time.perf_counter()
    for row, result in zip(rows, transcribe_all(transcriber, [row.path for row in rows])):
        if result.transcript is None:
            problems.append(f"{row.source}: {result.error}")
            texts.append(None)
        else:
            seconds += result.transcript.seconds
            texts.append(result.transcript.text)
        if progress is not None:
            progress(len(texts))
    return Hypotheses(system, tuple(texts), seconds, time.perf_counter() - started, tuple(problems))


def evaluate(
    rows: Sequence[Row], hypotheses: Sequence[Hypotheses], normalization: str = scoring.DEFAULT_NORMALIZATION
) -> Evaluation:
    """Score what systems recognised, each corpus by itself and all together, and compare the others with the first.

    Raises InputError when no recording could be used by all of them.
    """
    used = [index for index in range(len(rows)) if all(one.texts[index] is not None for one in hypotheses)]
    problems = tuple(dict.fromkeys(problem for one in hypotheses for problem in one.problems))
    if not used:
        raise InputError("; ".join(["no recording could be used", *problems[:3]]))
    kept = tuple(rows[index] for index in used)
    texts = tuple(tuple(str(one.texts[index]) for index in used) for one in hypotheses)
    names = list(dict.fromkeys(row.corpus for row in kept))
    corpora = {name: [i for i, row in enumerate(kept) if row.corpus == name] for name in names}
    corpora = {**(corpora if len(names) > 1 else {}), (ALL if len(names) > 1 else names[0]): list(range(len(kept)))}
    lines, comparisons = [], []
    for name, members in corpora.items():
        scores = [
            scoring.score([kept[i].text for i in members], [said[i] for i in members], normalization) for said in texts
        ]
        lines += [Line(name, system, found) for system, found in enumerate(scores)]
        comparisons += [
            Comparison(
                name,
                system,
                scoring.difference(scores[0].words, found.words),
                scoring.difference(scores[0].characters, found.characters),
            )
            for system, found in enumerate(scores)
            if system
        ]
    return Evaluation(kept, tuple(hypotheses), texts, tuple(lines), tuple(comparisons), normalization, problems)


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as plain JSON values; rates are fractions, speed is times real time."""
    return {
        "normalization": evaluation.normalization,
        "systems": [
            {
                "bundle": one.system.bundle,
                "engine": one.system.engine,
                "variant": one.system.variant,
                "decoding": one.system.decoding,
                "seconds": round(one.seconds, 2),
                "speed": round(one.speed, 2),
                "corpora": {
                    line.corpus: {"wer": line.scores.wer.to_json(), "cer": line.scores.cer.to_json()}
                    for line in evaluation.lines
                    if line.system == index
                },
            }
            for index, one in enumerate(evaluation.hypotheses)
        ],
        "differences": [
            {"corpus": c.corpus, "first": 0, "second": c.system, "wer": c.wer.to_json(), "cer": c.cer.to_json()}
            for c in evaluation.comparisons
        ],
        "clips": [
            {
                "path": str(row.path),
                "corpus": row.corpus,
                "reference": row.text,
                "hypotheses": [texts[index] for texts in evaluation.texts],
            }
            for index, row in enumerate(evaluation.rows)
        ],
        "problems": list(evaluation.problems),
    }
