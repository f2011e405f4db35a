"""How the models of a head are measured: the protocol, and the base of all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle.spec import ModelSpec
from ..runtime.errors import InputError
from . import manifest as manifests
from .figures import Figure
from .manifest import Need, Row
from .runs import Run

Answer: TypeAlias = NDArray[np.float32]
"""A recording's answer, from its first output: logits of a transcriber, scores of labels, numbers, probabilities of
frames, or an embedding."""
Unit: TypeAlias = Literal["words", "characters", "labels", "numbers", "turns", "pairs", "recordings"]
Likeness: TypeAlias = Literal["labels", "cosine", "concordance"]
"""How two runs of one model are compared without references: the share of equal best labels, the mean cosine, or the
concordance of numbers."""


class Task(Protocol):
    """How the models of a head are measured."""

    @property
    def unit(self) -> Unit:
        """The unit that is counted."""

    @property
    def figure(self) -> Figure:
        """The figure that variants are compared by."""

    @property
    def needs(self) -> Need | None:
        """What each recording must have; None: nothing."""

    @property
    def likeness(self) -> Likeness:
        """How two runs are compared without a reference."""

    def reference(self, row: Row) -> str:
        """A recording's reference, as a line of text; empty where its row has none."""

    def amount(self, rows: Sequence[Row]) -> int:
        """How many units recordings have together."""

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError, naming the line, for recordings that do not fit the model, before it runs."""

    def answer(self, output: Answer) -> Answer:
        """The answer of a recording's first output, computed in one piece."""

    def run(self, rows: Sequence[Row], answers: Sequence[Answer]) -> Run:
        """The answers to recordings compared with their references; raises InputError as ``check`` does."""


@dataclass(frozen=True)
class BaseTask:
    """The base of tasks that count recordings and take a model's output as it is."""

    spec: ModelSpec

    def amount(self, rows: Sequence[Row]) -> int:
        """How many recordings there are."""
        return len(rows)

    def check(self, rows: Sequence[Row]) -> None:
        """Accept all recordings."""

    def answer(self, output: Answer) -> Answer:
        """The output itself."""
        return output


def fitting(
    manifest: str | Path, tasks: Sequence[Task], split: str | None = None
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows of a manifest that fit models of one head, and a line for each of the others.

    Raises InputError where no row fits.
    """
    rows, broken = manifests.scan(manifest, split=split, need=tasks[0].needs)
    unfit = [next(filter(None, (_unfit(task, row) for task in tasks)), None) for row in rows]
    problems = (*broken, *filter(None, unfit))
    fit = tuple(row for row, problem in zip(rows, unfit) if problem is None)
    if not fit:
        raise InputError("; ".join(problems[:3]))
    return fit, problems


def _unfit(task: Task, row: Row) -> str | None:
    """Why a row does not fit a model; None where it does."""
    try:
        task.check((row,))
    except InputError as error:
        return str(error)
    return None


def names_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The names of recordings: those of their files, with the part."""
    return tuple(row.audio.name for row in rows)
