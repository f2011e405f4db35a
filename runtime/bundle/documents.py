"""bundle.json as types: the fields that this version knows, read from files that may come from a stranger."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from .spec import SpecJson, Stage

Precision = str
"""``fp32``, ``fp16``, ``bf16``, ``int8`` or ``int4``; a newer version may know others, which nothing here runs."""


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
    metrics: dict[str, Any]
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
    """The whole document; keys that this version does not know survive a rewrite."""

    provenance: dict[str, Any]
