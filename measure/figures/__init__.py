"""The figures of each head: error rates, accuracy, verification and diarization errors.

A figure is an ``Estimate``: a value with its 95 % bootstrap interval. Two systems are compared by a ``Change`` with a
paired interval over the same items. Word and character error rates are in ``measure.scoring``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

Name = Literal["wer", "cer", "accuracy", "uar", "ece", "eer", "min-dcf", "der", "ccc", "cosine"]


@dataclass(frozen=True)
class Figure:
    """A figure's names, its unit, and whether lower or higher is better."""

    name: Name
    title: str
    better: Literal["lower", "higher"]
    percent: bool = True

    @property
    def short(self) -> str:
        """As ``WER`` or ``accuracy``, for a column."""
        return self.name.upper() if len(self.name) == 3 else self.name


FIGURES: Mapping[Name, Figure] = {
    figure.name: figure
    for figure in (
        Figure("wer", "word error rate", "lower"),
        Figure("cer", "character error rate", "lower"),
        Figure("accuracy", "accuracy", "higher"),
        Figure("uar", "unweighted average recall", "higher"),
        Figure("ece", "expected calibration error", "lower"),
        Figure("eer", "equal error rate", "lower"),
        Figure("min-dcf", "minimum detection cost", "lower", percent=False),
        Figure("der", "diarization error rate", "lower"),
        Figure("ccc", "concordance correlation coefficient", "higher", percent=False),
        Figure("cosine", "cosine to fp32", "higher", percent=False),
    )
}

OF_HEAD: Mapping[str, tuple[Name, ...]] = {
    "ctc": ("wer", "cer"),
    "sequence_classification": ("accuracy", "uar", "ece"),
    "xvector": ("eer", "min-dcf"),
    "frame_classification": ("der",),
    "regression": ("ccc",),
}
"""The figures of each head on a manifest; variants are compared by the first. A bare encoder has none: its variants are
compared with fp32 (``cosines``)."""


class EstimateDocument(TypedDict):
    """An estimate as JSON; null where a number is not known."""

    value: float | None
    low: float | None
    high: float | None
    items: int


class DifferenceDocument(TypedDict):
    """A difference as JSON; null where a number is not known."""

    value: float | None
    low: float | None
    high: float | None
    significant: bool


@dataclass(frozen=True)
class Estimate:
    """A figure: a fraction (0.05 is 5 %) or a cost, with its 95 % interval from low to high; NaN where unknown.

    items: how many clips, trials or recordings it was measured on.
    """

    figure: Figure
    value: float
    low: float
    high: float
    items: int

    def __str__(self) -> str:
        """As ``5.0 % [4.1, 6.0]``, a cost as ``0.213 [0.190, 0.240]``; without an interval where there is none."""
        if not np.isfinite(self.value):
            return f"no {self.figure.title}"
        scale, digits, unit = (100, 1, " %") if self.figure.percent else (1, 3, "")
        value = f"{scale * self.value:.{digits}f}{unit}"
        if not np.isfinite(self.low):
            return value
        return f"{value} [{scale * self.low:.{digits}f}, {scale * self.high:.{digits}f}]"

    def to_json(self) -> EstimateDocument:
        """Plain JSON values."""
        return {
            "value": known(self.value),
            "low": known(self.low),
            "high": known(self.high),
            "items": self.items,
        }


@dataclass(frozen=True)
class Difference:
    """How much higher the second system's rate is, as a fraction, with its paired 95 % interval.

    The difference is significant where the interval does not contain zero.
    """

    value: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval does not contain zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """As ``+0.50 points [-0.10, +1.20]``; without an interval where there is none."""
        return self._shown(100, 2, " points")

    def _shown(self, scale: float, digits: int, unit: str) -> str:
        if not np.isfinite(self.value):
            return "not known"
        value = f"{scale * self.value:+.{digits}f}{unit}"
        if not np.isfinite(self.low):
            return value
        return f"{value} [{scale * self.low:+.{digits}f}, {scale * self.high:+.{digits}f}]"

    def to_json(self) -> DifferenceDocument:
        """Plain JSON values; NaN becomes null."""
        return {
            "value": known(self.value),
            "low": known(self.low),
            "high": known(self.high),
            "significant": self.significant,
        }


@dataclass(frozen=True)
class Change(Difference):
    """The difference of any figure, which may be a cost, and of which higher may be better."""

    figure: Figure

    @property
    def loss(self) -> float:
        """By how much the second system is worse, as a fraction; negative where it is better."""
        return self.value if self.figure.better == "lower" else -self.value

    @property
    def largest_loss(self) -> float:
        """The end of the interval at which the second system is worst."""
        return self.high if self.figure.better == "lower" else -self.low

    @property
    def worse(self) -> bool:
        """Whether the second system is worse, beyond chance."""
        return self.low > 0 if self.figure.better == "lower" else self.high < 0

    def __str__(self) -> str:
        """As ``+0.50 points [-0.10, +1.20]``, of a cost as ``+0.010 [-0.002, +0.020]``."""
        return str(Difference(self.value, self.low, self.high)) if self.figure.percent else self._shown(1, 3, "")


def known(value: float) -> float | None:
    """A number for JSON: rounded to 6 digits, None where it is not finite."""
    return round(value, 6) if np.isfinite(value) else None
