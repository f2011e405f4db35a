"""What the variants of each head are judged by: what a recording should give, and how many errors an answer has.

A task is all that the judge knows of a head; one more here makes ``quantize`` judge one more head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from wav2edge.measure import scoring
from wav2edge.measure.manifest import Row
from wav2edge.measure.scoring import Edits, Rate, normalize
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import ctc, sequence_classification

from .closeness import Logits

Unit: TypeAlias = Literal["words", "characters", "labels"]


@dataclass(frozen=True)
class Task:
    """How a head's answers are judged."""

    unit: Unit
    """What is counted."""
    rate: str
    """What the share of errors is called."""
    needs: Literal["text", "label"]
    """What each recording to judge on must have."""
    reference: Callable[[Row], str]
    """What a recording should give; empty where its row does not say."""
    length: Callable[[str], int]
    """How many units a reference has."""
    answer: Callable[[Logits, ModelSpec], str]
    """What a model gives, from its logits."""
    score: Callable[[Sequence[str], Sequence[str]], tuple[tuple[Edits, ...], Rate]]
    """Each recording's errors, and the pooled rate, of references and answers."""


def task_of(spec: ModelSpec) -> Task:
    """How a model's variants are judged; raises InputError for a head whose answers cannot be counted as errors."""
    if spec.head == "ctc":
        return CHARACTERS if gapless(spec) else WORDS
    if spec.head == "sequence_classification" and not spec.options(sequence_classification.Options).multi_label:
        return LABELS
    raise InputError(
        f"the variants of a model with the head {spec.head} cannot be judged; "
        "quantise models that transcribe, or that give each recording one label"
    )


def gapless(spec: ModelSpec) -> bool:
    """Whether a model's text has no gaps (``ctc.joined``): a whole clip is one word, and characters must count."""
    return spec.delimiter is None and spec.tokenizer == "char"


def rate_name(unit: Unit) -> str:
    """What the error rate of a unit is called."""
    return {"words": "WER", "characters": "CER", "labels": "error rate"}[unit]


def _text(row: Row) -> str:
    return row.text.strip()


def _label(row: Row) -> str:
    return row.label or ""


def _transcript(logits: Logits, spec: ModelSpec) -> str:
    return ctc.joined(ctc.greedy(np.nan_to_num(logits), spec), spec)


def _best_label(logits: Logits, spec: ModelSpec) -> str:
    return sequence_classification.classify(np.nan_to_num(logits).reshape(-1), spec, 0.0).label


def _words(references: Sequence[str], answers: Sequence[str]) -> tuple[tuple[Edits, ...], Rate]:
    scores = scoring.score(references, answers)
    return scores.words, scores.wer


def _characters(references: Sequence[str], answers: Sequence[str]) -> tuple[tuple[Edits, ...], Rate]:
    scores = scoring.score(references, answers)
    return scores.characters, scores.cer


def _labels(references: Sequence[str], answers: Sequence[str]) -> tuple[tuple[Edits, ...], Rate]:
    edits = tuple(Edits(1, int(wanted != given), 0, 0) for wanted, given in zip(references, answers))
    return edits, scoring.rate(edits)


WORDS = Task("words", rate_name("words"), "text", _text, lambda text: len(normalize(text).split()), _transcript, _words)
CHARACTERS = Task(
    "characters",
    rate_name("characters"),
    "text",
    _text,
    lambda text: len(normalize(text)),
    _transcript,
    _characters,
)
LABELS = Task("labels", rate_name("labels"), "label", _label, lambda label: 1, _best_label, _labels)
