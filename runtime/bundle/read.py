"""The bundle: one directory with everything a device needs and nothing it does not.

``bundle.json`` lists what belongs to it: format version, model spec, variants with the size and SHA-256 of every file,
and where it came from. Files that it does not list are ignored; unknown keys are kept when it is rewritten.
``write.py`` makes and changes bundles.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from .. import documents
from ..errors import BundleError
from .documents import BundleJson, FileJson, MetricsJson, ProvenanceJson, VariantJson
from .shipped import directory_of
from .signature import require_trusted
from .spec import ModelSpec, Stage
from .trust import MANIFEST as MANIFEST
from .trust import check_external_data, contained
from .trust import sha256 as sha256

FORMAT = 1
SELFTEST = "selftest.npz"
_WHAT = "a wav2edge bundle"
_DIGEST = re.compile("[0-9a-f]{64}")
_MAX_BYTES = 16 << 20
"""Largest bundle.json: the labels of 1 000 000 pieces have about 14 MB."""


@dataclass(frozen=True)
class Variant:
    """One numeric form of the model."""

    name: str
    """Such as ``fp32`` or ``int8-s8s8``."""
    precision: str
    """``fp32``, ``fp16``, ``bf16``, ``int8`` or ``int4``."""
    graphs: Mapping[Stage, str]
    """The ONNX file of each stage."""
    sha256: Mapping[str, str]
    """Digest of each file, hexadecimal."""
    sizes: Mapping[str, int]
    """Bytes of each file."""
    scheme: str | None = None
    """How integers are laid out (``u8s8``, ``s8s8``, ``s8s8-bf16``, ``u7s8``, ``dynamic``); None for float."""
    data: tuple[str, ...] = ()
    """Files of weights beside the graphs."""
    preferred_by: tuple[str, ...] = ()
    """Engines that run this variant best."""
    made_from: str | None = None
    """The variant it was derived from."""
    metrics: MetricsJson = field(default_factory=MetricsJson)
    """Figures that were measured when it was made."""

    @property
    def bytes(self) -> int:
        """The size of all its files, in bytes."""
        return sum(self.sizes.values())

    @property
    def bfloat16(self) -> bool:
        """Whether it is to be computed in bfloat16, wholly or where it is not quantised."""
        return self.precision == "bf16" or (self.scheme or "").endswith("-bf16")

    @property
    def batches(self) -> bool:
        """Whether clips that run as one batch get the outputs that each of them gets alone.

        Not where activations are quantised dynamically: a whole batch is scaled by its largest value.
        """
        return self.scheme != "dynamic"

    @property
    def forced(self) -> bool:
        """Whether it was kept although the gate on words refused it (``quantize --force``); it is never a default."""
        return bool(self.metrics.get("forced"))

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the variant, graphs first."""
        return tuple(dict.fromkeys((*self.graphs.values(), *self.data)))


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and checked; ``Bundle.open`` makes one."""

    path: Path
    """Its directory, as it was given."""
    spec: ModelSpec
    """What the model is."""
    variants: tuple[Variant, ...]
    """Its numeric forms, in the order in which they were added."""
    document: BundleJson
    """bundle.json as it is, unknown keys included."""
    _opened: Path = field(init=False, repr=False, compare=False)
    """Its absolute directory."""

    def __post_init__(self) -> None:
        """Keep where it is: a relative ``path`` means another place once the process changes its directory."""
        object.__setattr__(self, "_opened", self.path.absolute())

    @property
    def directory(self) -> Path:
        """Where its files are read: ``path``, or the absolute one once the process has changed its directory.

        Where the working directory itself was renamed, ``path`` still leads there.
        """
        try:
            moved = self.path.absolute() != self._opened
        except OSError:  # the working directory was removed
            return self._opened
        return self._opened if moved and self._opened.exists() else self.path

    @property
    def provenance(self) -> ProvenanceJson:
        """Where it came from: checkpoint, digest of its weights, tools, parity."""
        return self.document.get("provenance", {})

    @property
    def files(self) -> Mapping[str, FileJson]:
        """The listed files that belong to no variant, such as ``vocab.json``, by name."""
        return self.document["files"]

    @classmethod
    def open(cls, path: str | Path, *, ask_signature: bool = True) -> Bundle:
        """Read a bundle and check that every listed file is there with its size; it may be read-only.

        path: its directory, or the name of one that ships with the package (``shipped.NAMES``). ask_signature: whether
        one of the keys in WAV2EDGE_TRUSTED_KEYS, where it is set, must have signed the bundle; False is for what makes,
        changes or signs it.

        Digests are checked by ``verify`` when a variant is loaded. Raises BundleError when it is missing, damaged,
        incomplete, not signed or of a newer format, and for a file that is not plainly inside it; InputError and
        EngineError as ``signature.require_trusted``.
        """
        directory = directory_of(path)
        document, content = _read_document(directory)
        if ask_signature:
            require_trusted(directory, content)
        where = str(directory / MANIFEST)
        spec = ModelSpec.from_json(document["spec"], where)
        variants = tuple(_variant(values, f"{where}: variants[{n}]") for n, values in enumerate(document["variants"]))
        if len({variant.name for variant in variants}) < len(variants):
            raise BundleError(f"{where}: two variants have the same name; export the model again")
        bundle = cls(directory, spec, variants, document)
        sizes = {entry["file"]: entry["bytes"] for entry in document["files"].values()}
        for variant in variants:
            sizes.update(variant.sizes)
        for name, size in sizes.items():
            file, actual = contained(directory, name)
            if actual != size:
                raise BundleError(f"{file}: {actual} bytes where {size} are listed; it is truncated or was changed")
        return bundle

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises BundleError naming those there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        have = ", ".join(variant.name for variant in self.variants) or "none"
        raise BundleError(f"{self.path}: no variant {name!r}; it has {have}")

    def ranked(self, engine: str) -> tuple[Variant, ...]:
        """The variants, those that an engine prefers first, then fp32, then the others; forced ones last.

        Of the plain INT8 variants that it prefers, the one with the rest in bfloat16 comes first.
        """

        def key(variant: Variant) -> tuple[bool, ...]:
            preferred = engine in variant.preferred_by
            mixed = preferred and variant.name == "int8-s8s8-bf16"
            return variant.forced, not preferred, variant.precision != "fp32", not mixed

        return tuple(sorted(self.variants, key=key))

    def graph(self, variant: Variant, stage: Stage) -> Path:
        """The ONNX file of a variant's stage; raises BundleError where the variant lacks that stage."""
        if stage not in variant.graphs:
            raise BundleError(f"{self.path}: variant {variant.name} has no {stage} graph")
        return self.directory / variant.graphs[stage]

    def verify(self, variant: Variant, stage: Stage | None = None) -> None:
        """Check a variant's files (of one stage: its graph and the weights): their digests, and what graphs refer to.

        Raises BundleError for a file that was changed, and for a graph that takes weights from other files.
        """
        wanted = variant.files if stage is None else (variant.graphs[stage], *variant.data)
        for name in wanted:
            path, _ = contained(self.directory, name)
            if sha256(path) != variant.sha256[name]:
                raise BundleError(f"{path}: wrong SHA-256; the file was changed or damaged, copy it again")
            if name not in variant.data:
                check_external_data(self.directory, name, variant.data)

    def file(self, name: str) -> Path:
        """A listed file that belongs to no variant, such as ``vocab.json``, with its SHA-256 checked."""
        entry = self.files.get(name)
        if entry is None:
            raise BundleError(f"{self.path}: it lists no {name}")
        path, _ = contained(self.directory, entry["file"])
        if sha256(path) != entry["sha256"]:
            raise BundleError(f"{path}: wrong SHA-256; the file was changed or damaged, copy it again")
        return path


def variant_to_json(variant: Variant) -> VariantJson:
    """A variant as plain JSON values."""
    return cast(VariantJson, {**dataclasses.asdict(variant), "bytes": variant.bytes})


def _read_document(directory: Path) -> tuple[BundleJson, bytes]:
    """bundle.json, and its bytes."""
    if not directory.exists():
        raise BundleError(
            f"{directory}: no such bundle; make one with `wav2edge export CHECKPOINT BUNDLE`, or correct the path"
        )
    if not directory.is_dir():
        raise BundleError(f"{directory}: a bundle is a directory, this is a file")
    if not os.path.lexists(directory / MANIFEST):
        hint = ""
        if (directory / "config.json").exists():
            hint = "; it looks like a checkpoint: make a bundle with `wav2edge export CHECKPOINT BUNDLE`"
        raise BundleError(f"{directory}: no {MANIFEST}, so this is not a wav2edge bundle{hint}")
    manifest, _ = contained(directory, MANIFEST)
    content = documents.read_bytes(manifest, _WHAT, max_bytes=_MAX_BYTES, error=BundleError)
    values = documents.json_of(content, manifest, _WHAT, error=BundleError)
    version = values.get("format") if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise BundleError(f"{manifest}: no format version; this is not a wav2edge bundle")
    if version > FORMAT:
        raise BundleError(
            f"{directory}: bundle format {version} is newer than this wav2edge reads ({FORMAT}); upgrade wav2edge"
        )
    where = f"{manifest}: damaged, export the model again"
    return documents.check(values, BundleJson, where, error=BundleError), content


def _variant(values: VariantJson, where: str) -> Variant:
    variant = documents.build(Variant, {**values})
    if not variant.name or not variant.name.isprintable() or "full" not in variant.graphs:
        raise BundleError(f"{where} ({variant.name!r}): a variant needs a name and the graph `full`; export it again")
    for name in variant.files:
        if name not in variant.sha256 or name not in variant.sizes:
            raise BundleError(f"{where} ({variant.name}): it lists no size or digest for {name}; export it again")
        if not _DIGEST.fullmatch(variant.sha256[name]):
            raise BundleError(f"{where} ({variant.name}): the digest of {name} is not a SHA-256; export it again")
    return variant
