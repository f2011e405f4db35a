"""Evaluate several systems on the same recordings: texts, speed and error rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from ..runtime import engines
from ..runtime.bundle.read import Bundle
from ..runtime.errors import EngineError, InputError
from ..runtime.recordings.batch import transcribe_all
from ..runtime.recordings.transcriber import Transcriber
from . import figures, names, scoring
from .manifest import Row

ALL = "all"
"""The name under which several corpora are reported together."""

DecodingName = Literal["greedy", "beam"]


@dataclass(frozen=True)
class System:
    """A bundle's variant on an engine, with a decoder: what is evaluated."""

    bundle: str
    engine: str
    variant: str
    decoding: DecodingName = "greedy"


@dataclass(frozen=True)
class SystemHypotheses:
    """The text that a system recognised in each recording (None: it could not be used), and the time for all.

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
class SystemComparison:
    """A later system against the first on one corpus."""

    corpus: str
    system: int
    wer: scoring.Difference
    cer: scoring.Difference


@dataclass(frozen=True)
class Evaluation:
    """Every system's scores on the recordings that all of them could use.

    rows: those recordings; texts: what each system recognised, [system][recording].
    """

    rows: tuple[Row, ...]
    hypotheses: tuple[SystemHypotheses, ...]
    texts: tuple[tuple[str, ...], ...]
    lines: tuple[Line, ...]
    comparisons: tuple[SystemComparison, ...]
    normalization: scoring.Normalization
    problems: tuple[str, ...]

    @property
    def whole(self) -> str:
        """The corpus that holds every recording, which a system's speed is of: the only one, or all together."""
        return self.lines[-1].corpus

    def worst(self, count: int) -> list[int]:
        """The recordings with the most word errors of the first system, the worst first; none without errors."""
        edits = next(line.scores.words for line in self.lines if len(line.scores.words) == len(self.rows))
        ranked = sorted(range(len(edits)), key=lambda i: (-edits[i].errors, -edits[i].errors / max(1, edits[i].length)))
        return [index for index in ranked[:count] if edits[index].errors]


def systems(
    bundle: Bundle,
    engine_names: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    decodings: Sequence[DecodingName] = ("greedy",),
    *,
    among: Sequence[str] | None = None,
) -> list[System]:
    """Every engine × variant of a bundle that runs here, of those that are named, else of all.

    among: the engines to try where none is named (None: all). Raises EngineError, with each reason, where an engine or
    an engine × variant that was named is missing or refused, where no engine runs a variant that was named, and where
    nothing runs.
    """
    chosen: list[System] = []
    reasons: list[tuple[str | None, str]] = []  # of a variant, or of a whole engine
    for candidate in engines.runnable(bundle, engine_names or among, variants or None):
        variant = candidate.variant
        if candidate.runs and variant is not None:
            chosen += [System(str(bundle.path), candidate.engine, variant.name, decoding) for decoding in decodings]
            continue
        what = f"engine {candidate.engine}" if variant is None else f"{candidate.engine} does not run {variant.name}"
        if engine_names and (variants or variant is None):
            raise EngineError(f"{what}: {candidate.reason}")
        reasons.append((None if variant is None else variant.name, f"{what}: {candidate.reason}"))
    lost = set(variants or ()) - {system.variant for system in chosen}
    if lost or not chosen:
        why = [reason for name, reason in reasons if not lost or name is None or name in lost]
        raise EngineError("; ".join(why) or f"{bundle.path}: no variant to evaluate")
    return chosen


def labels(of_systems: Sequence[System]) -> list[str]:
    """Each system in as few words as distinguish it from the others."""
    bundles = names.apart(system.bundle for system in of_systems)
    several_decodings = len({system.decoding for system in of_systems}) > 1
    return [
        " ".join(
            [
                *([bundles[system.bundle]] if len(bundles) > 1 else []),
                f"{system.engine} {system.variant}",
                *([system.decoding] if several_decodings else []),
            ]
        )
        for system in of_systems
    ]


def transcribe_rows(
    transcriber: Transcriber, system: System, rows: Sequence[Row], progress: Callable[[int], None] | None = None
) -> SystemHypotheses:
    """Run a system over recordings; ``progress`` is called with the number of those that are done."""
    texts: list[str | None] = []
    problems: list[str] = []
    seconds = 0.0
    started = time.perf_counter()
    for row, result in zip(rows, transcribe_all(transcriber, [row.audio for row in rows])):
        if result.transcript is None:
            problems.append(f"{row.source}: {result.error}")
            texts.append(None)
        elif not result.transcript.complete:  # the reference text is of all that is said
            problems.append(f"{row.source}: {row.audio}: {result.transcript.warnings[0]}")
            texts.append(None)
        else:
            seconds += result.transcript.seconds
            texts.append(result.transcript.text)
        if progress is not None:
            progress(len(texts))
    return SystemHypotheses(system, tuple(texts), seconds, time.perf_counter() - started, tuple(problems))


def evaluate(
    rows: Sequence[Row],
    hypotheses: Sequence[SystemHypotheses],
    normalization: scoring.Normalization = scoring.DEFAULT_NORMALIZATION,
) -> Evaluation:
    """Score the texts of systems, for each corpus and all together, and compare the others with the first.

    Raises InputError when no recording could be used by all of them.
    """
    used = [index for index in range(len(rows)) if all(one.texts[index] is not None for one in hypotheses)]
    problems = tuple(dict.fromkeys(problem for one in hypotheses for problem in one.problems))
    if not used:
        raise InputError("; ".join(["no recording could be used", *problems[:3]]))
    kept = tuple(rows[index] for index in used)
    texts = tuple(tuple(str(one.texts[index]) for index in used) for one in hypotheses)
    lines: list[Line] = []
    comparisons: list[SystemComparison] = []
    for name, members in _corpora(kept).items():
        references = [kept[i].text for i in members]
        scores = [scoring.score(references, [of_system[i] for i in members], normalization) for of_system in texts]
        lines += [Line(name, number, of_system) for number, of_system in enumerate(scores)]
        comparisons += [
            SystemComparison(
                name,
                number,
                scoring.difference(scores[0].words, later.words),
                scoring.difference(scores[0].characters, later.characters),
            )
            for number, later in enumerate(scores[1:], 1)
        ]
    return Evaluation(kept, tuple(hypotheses), texts, tuple(lines), tuple(comparisons), normalization, problems)


def _corpora(rows: Sequence[Row]) -> dict[str, list[int]]:
    """The rows of each corpus, by number, and of all where there are several."""
    corpora: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        corpora.setdefault(row.corpus, []).append(index)
    together = ALL if ALL not in corpora else f"{ALL} corpora"
    return {**corpora, together: list(range(len(rows)))} if len(corpora) > 1 else corpora


class RatesDocument(TypedDict):
    """Both rates on one corpus."""

    wer: scoring.RateDocument
    cer: scoring.RateDocument


class SystemDocument(TypedDict):
    """A system and its rates by corpus. seconds: of audio; speed: times real time."""

    bundle: str
    engine: str
    variant: str
    decoding: DecodingName
    seconds: float
    speed: float
    corpora: dict[str, RatesDocument]


class SystemDifferenceDocument(TypedDict):
    """How much higher the rates of a system are than the first's; first, second: positions in ``systems``."""

    corpus: str
    first: int
    second: int
    wer: figures.DifferenceDocument
    cer: figures.DifferenceDocument


class ClipDocument(TypedDict):
    """A recording, its text, and what each system recognised; path: with the part, such as ``a.wav#t=12.5,20``."""

    path: str
    corpus: str
    reference: str
    hypotheses: list[str]


class EvaluationDocument(TypedDict):
    """What ``evaluate --json`` writes; rates are fractions. problems: rows that could not be used, and why."""

    normalization: scoring.Normalization
    systems: list[SystemDocument]
    differences: list[SystemDifferenceDocument]
    clips: list[ClipDocument]
    problems: list[str]


def to_json(evaluation: Evaluation) -> EvaluationDocument:
    """Everything as plain JSON values."""
    return {
        "normalization": evaluation.normalization,
        "systems": [_system(evaluation, number, one) for number, one in enumerate(evaluation.hypotheses)],
        "differences": [
            {"corpus": c.corpus, "first": 0, "second": c.system, "wer": c.wer.to_json(), "cer": c.cer.to_json()}
            for c in evaluation.comparisons
        ],
        "clips": [
            {
                "path": str(row.audio),
                "corpus": row.corpus,
                "reference": row.text,
                "hypotheses": [texts[index] for texts in evaluation.texts],
            }
            for index, row in enumerate(evaluation.rows)
        ],
        "problems": list(evaluation.problems),
    }


def _system(evaluation: Evaluation, number: int, one: SystemHypotheses) -> SystemDocument:
    return {
        "bundle": one.system.bundle,
        "engine": one.system.engine,
        "variant": one.system.variant,
        "decoding": one.system.decoding,
        "seconds": round(one.seconds, 2),
        "speed": round(one.speed, 2),
        "corpora": {
            line.corpus: {"wer": line.scores.wer.to_json(), "cer": line.scores.cer.to_json()}
            for line in evaluation.lines
            if line.system == number
        },
    }
