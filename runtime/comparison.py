"""Compare a variant's outputs with the reference outputs in the bundle: how much they differ, and may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bundle.read import Variant
from .bundle.reference import Outputs
from .bundle.spec import ModelSpec, Output
from .heads import ctc


@dataclass(frozen=True)
class Tolerance:
    """By how much a variant of some precision may differ from fp32."""

    difference: float
    """Largest |Δ|, as a share of the largest reference value (of 1 where that is smaller)."""
    cosine: float
    """Lowest cosine between the outputs."""
    tokens: float
    """Lowest share of frames with the same best label, among those where the reference is sure (``margin``)."""
    margin: float
    """Standard deviations of the reference's logits by which its two best labels must differ to count as sure."""
    text: bool
    """Whether the decoded text must be the same."""


TOLERANCES: Mapping[str, Tolerance] = {
    # fp32 differs by the order of summation only: what the parity gate of the export allows.
    "fp32": Tolerance(1e-3, 0.99999, 1.0, 5e-3, True),
    # 10 and 7 bits of mantissa: a relative rounding error of 5e-4 and 4e-3 an operation, a few dozen of them in a row.
    "fp16": Tolerance(0.05, 0.9995, 0.99, 0.05, False),
    "bf16": Tolerance(0.25, 0.99, 0.97, 0.2, False),
    # The gate on words judges a variant when it is made; these bounds detect a wrong kernel, which gives a cosine near
    # 0 and tokens by chance. Variants that pass the gate have 0.99 and 0.98 (benchmarks/quantization_accuracy.py).
    "int8": Tolerance(1.0, 0.95, 0.9, 0.5, False),
    "int4": Tolerance(1.0, 0.9, 0.85, 0.5, False),
}
"""By precision. A variant of an unknown precision is compared with int8's."""


@dataclass(frozen=True)
class Comparison:
    """Outputs against the reference; tokens and same_text are None for models without them."""

    status: Literal["passed", "failed"]
    reason: str = ""
    difference: float | None = None
    cosine: float | None = None
    tokens: float | None = None
    same_text: bool | None = None


class _Tally:
    """The worst of all outputs of all clips so far."""

    def __init__(self, margin: float) -> None:
        self.margin = margin
        self.difference, self.cosine = 0.0, 1.0
        self.same = self.counted = 0

    @property
    def tokens(self) -> float:
        return self.same / self.counted if self.counted else 1.0

    def add(self, output: Output, ours: NDArray[np.generic], wanted: NDArray[np.generic], labelled: bool) -> str | None:
        """Take in one output of one clip; returns why it cannot be compared, or None."""
        a, b = ours.astype(np.float64), wanted.astype(np.float64)
        if a.shape != b.shape:
            return f"{output.name} has shape {list(a.shape)} where {list(b.shape)} is expected"
        if not np.isfinite(a).all():
            return f"{output.name} holds NaN or Inf"
        largest = max(1.0, float(np.abs(b).max(initial=0.0)))
        self.difference = max(self.difference, float(np.abs(a - b).max(initial=0.0)) / largest)
        self.cosine = min(self.cosine, _cosine(a, b))
        if labelled:
            top = np.sort(b, axis=1)
            sure = top[:, -1] - top[:, -2] > self.margin * b.std()
            self.counted += int(sure.sum())
            self.same += int((a.argmax(1) == b.argmax(1))[sure].sum())
        return None


def compare(spec: ModelSpec, variant: Variant, outputs: Sequence[Outputs], reference: Sequence[Outputs]) -> Comparison:
    """Compare the outputs of clips, by name, with the reference, within the tolerance of the variant's precision."""
    allowed = TOLERANCES.get(variant.precision, TOLERANCES["int8"])
    tally, texts = _Tally(allowed.margin), True
    for ours, wanted in zip(outputs, reference):
        for output in spec.outputs:
            labelled = spec.blank is not None and output.axes[-1] == "labels"
            if reason := tally.add(output, ours[output.name], wanted[output.name], labelled):
                return Comparison("failed", reason)
        if spec.head == "ctc":
            texts &= text_of(ours, spec) == str(wanted["text"])
    failures = []
    if tally.difference > allowed.difference:
        failures.append(f"difference {tally.difference:.2e} > {allowed.difference:.0e}")
    if tally.cosine < allowed.cosine:
        failures.append(f"cosine {tally.cosine:.5f} < {allowed.cosine}")
    if tally.tokens < allowed.tokens:
        failures.append(f"tokens {tally.tokens:.1%} < {allowed.tokens:.0%}")
    if allowed.text and not texts:
        failures.append("another text")
    return Comparison(
        "failed" if failures else "passed",
        "; ".join(failures),
        tally.difference,
        tally.cosine,
        tally.tokens if spec.blank is not None else None,
        texts if spec.head == "ctc" else None,
    )


def text_of(outputs: Outputs, spec: ModelSpec) -> str:
    """The greedy text of one clip's outputs."""
    logits = np.asarray(outputs[spec.outputs[0].name], dtype=np.float32)
    return ctc.joined(ctc.greedy(logits, spec), spec)


def samples_of(clip: NDArray[np.generic]) -> NDArray[np.float32]:
    """An archived clip [samples] of 16 bits as the graph takes it, float32 in [-1, 1]."""
    samples: NDArray[np.float32] = clip.astype(np.float32) / np.float32(32767)
    return samples


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 if norm == 0.0 and not a.any() and not b.any() else float((a * b).sum()) / max(norm, 1e-30)
