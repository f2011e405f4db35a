"""bundle.json as types: the fields that this version knows, read from files of unknown origin."""

from __future__ import annotations

from typing import Literal, TypedDict

from .spec import SpecJson, Stage

Precision = str
"""``fp32``, ``fp16``, ``bf16``, ``int8`` or ``int4``; a newer version may know others, which nothing here runs."""


class FigureJson(TypedDict):
    """A head's figure, by its name in measure/figures: rates in per cent, others as they are.

    ``change`` is against fp32 on the same clips; low and high are the ends of 95 % intervals.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    change: float | None
    change_low: float | None
    change_high: float | None


class MetricsJson(TypedDict, total=False):
    """What was measured when a variant was made: rates in per cent, rises in points, null where there is no number.

    ``wer``: of models that transcribe; ``counts`` says where it is of characters. Models without labels have ``cosine``
    or ``concordance`` with fp32 in place of ``token_agreement``.
    """

    counts: str
    figure: FigureJson
    wer: float | None
    wer_low: float | None
    wer_high: float | None
    wer_rise: float | None
    wer_rise_low: float | None
    wer_rise_high: float | None
    token_agreement: float | None
    cosine: float | None
    concordance: float | None
    sqnr_db: float | None
    latency_ratio: float | None
    latency_engine: str
    verdict: str
    forced: bool
    kept_float: list[str]


class ParityPointJson(TypedDict):
    """One comparison of the parity gate (export/parity.py)."""

    name: str
    batch: int
    """Clips in the batch."""
    seconds: float
    """Length of all of them."""
    frames: int
    """How many were compared."""
    difference: float
    """max |ours - reference| over the clips' frames without padding."""
    limit: float
    """The largest difference allowed."""
    tokens: float | None
    """Share of the frames with a clear margin that got the same token; None for heads without tokens."""
    passed: bool


class _ParityRequired(TypedDict):
    tolerance: float
    engine: str
    points: list[ParityPointJson]


class ParityJson(_ParityRequired, total=False):
    """The parity gate's table; ``reference``: what was compared with, torch where it is left out."""

    reference: str


class ProvenanceJson(TypedDict, total=False):
    """Where a bundle came from; ``wer``: word error rates in per cent by the name of what was transcribed."""

    checkpoint: str
    weights_sha256: str
    parameters: int
    created: str
    tools: dict[str, str]
    parity: ParityJson
    wer: dict[str, float]


class _VariantRequired(TypedDict):
    name: str
    precision: Precision
    graphs: dict[Stage, str]
    sha256: dict[str, str]
    sizes: dict[str, int]


class VariantJson(_VariantRequired, total=False):
    """One variant; ``bytes`` is the sum of ``sizes``, for other readers."""

    scheme: str | None
    data: list[str]
    preferred_by: list[str]
    made_from: str | None
    metrics: MetricsJson
    bytes: int


class FileJson(TypedDict):
    """A file that belongs to no variant: where it is in the bundle, its size and digest."""

    file: str
    bytes: int
    sha256: str


class _BundleRequired(TypedDict):
    format: Literal[1]
    spec: SpecJson
    variants: list[VariantJson]
    files: dict[str, FileJson]


class BundleJson(_BundleRequired, total=False):
    """The whole document; keys that this version does not know are kept when it is rewritten."""

    provenance: ProvenanceJson
