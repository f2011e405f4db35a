"""The bundle: one directory with everything a device needs and nothing it does not.

``bundle.json`` lists what belongs to it: format version, model spec, variants with the size and SHA-256 of every file,
and where it came from. Files that it does not list are ignored; keys that it does not know survive a rewrite.
Writing lives in bundle_writer.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BundleError
from .spec import ModelSpec, Stage

FORMAT = 1
MANIFEST = "bundle.json"
SELFTEST = "selftest.npz"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Variant:
    """One numeric form of the model.

    name: such as ``fp32`` or ``int8-s8s8``. precision: ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``int4``.
    scheme: how integers are laid out (``u8s8``, ``s8s8``, ``u7s8``, ``dynamic``), None for float.
    graphs: the ONNX file of each stage (``full``, ``frontend``, ``encoder``). data: weight files beside them.
    preferred_by: engines that run this variant best. made_from: the variant it was derived from.
    bytes: size of all its files. sha256: digest of each file. metrics: figures measured when it was made.
    """

    name: str
    precision: str
    graphs: Mapping[str, str]
    sha256: Mapping[str, str]
    sizes: Mapping[str, int]
    scheme: str | None = None
    data: tuple[str, ...] = ()
    preferred_by: tuple[str, ...] = ()
    made_from: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of all its files, in bytes."""
        return sum(self.sizes.values())

    @property
    def forced(self) -> bool:
        """Whether the gate on words refused it and it was kept all the same (``quantize --force``): never a default."""
        return bool(self.metrics.get("forced"))

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the variant, graphs first."""
        return tuple(dict.fromkeys((*self.graphs.values(), *self.data)))


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and checked; ``Bundle.open`` makes one.

    raw: bundle.json as it stands, unknown keys included.
    """

    path: Path
    spec: ModelSpec
    variants: tuple[Variant, ...]
    provenance: Mapping[str, Any]
    raw: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read a bundle and check that every listed file is there with its size; it may be read-only.

        Raises BundleError when it is missing, damaged, incomplete or of a newer format. Digests are checked by
        ``verify`` when a variant is loaded.
        """
        directory = Path(path)
        raw = _read_manifest(directory)
        version = raw.get("format")
        if not isinstance(version, int):
            raise BundleError(f"{directory / MANIFEST}: no format version; this is no wav2edge bundle")
        if version > FORMAT:
            raise BundleError(
                f"{directory}: bundle format {version} is newer than this wav2edge reads ({FORMAT}); upgrade wav2edge"
            )
        try:
            spec = ModelSpec.from_json(raw["spec"])
            variants = tuple(_variant(values) for values in raw["variants"])
            files = {str(entry["file"]): int(entry["bytes"]) for entry in raw["files"].values()}
            _ = [str(entry["sha256"]) for entry in raw["files"].values()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{directory / MANIFEST}: damaged ({error!r}); export the model again") from error
        bundle = cls(directory, spec, variants, raw.get("provenance", {}), raw)
        for name, size in files.items():
            _check_size(directory, name, size)
        for variant in variants:
            for name, size in variant.sizes.items():
                _check_size(directory, name, size)
        return bundle

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises BundleError naming those there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        have = ", ".join(variant.name for variant in self.variants) or "none"
        raise BundleError(f"{self.path}: no variant {name!r}; it has {have}")

    def ranked(self, engine: str) -> tuple[Variant, ...]:
        """The variants, those that an engine prefers first, then fp32, then the others; forced ones last."""
        return tuple(
            sorted(self.variants, key=lambda v: (v.forced, engine not in v.preferred_by, v.precision != "fp32"))
        )

    def graph(self, variant: Variant, stage: Stage) -> Path:
        """The ONNX file of a variant's stage; raises BundleError where the variant lacks that stage."""
        if stage not in variant.graphs:
            raise BundleError(f"{self.path}: variant {variant.name} has no {stage} graph")
        return self.path / variant.graphs[stage]

    def verify(self, variant: Variant, stage: Stage | None = None) -> None:
        """Check the SHA-256 of a variant's files (of one stage: its graph and the weights); raises BundleError."""
        wanted = variant.files if stage is None else (variant.graphs[stage], *variant.data)
        for name in wanted:
            if sha256(self.path / name) != variant.sha256[name]:
                raise BundleError(f"{self.path / name}: wrong SHA-256; the file was changed or damaged, copy it again")

    def file(self, name: str) -> Path:
        """A listed file that belongs to no variant, such as ``vocab.json``, with its SHA-256 checked."""
        entry = self.raw["files"].get(name)
        if entry is None:
            raise BundleError(f"{self.path}: it lists no {name}")
        path = self.path / str(entry["file"])
        if sha256(path) != entry["sha256"]:
            raise BundleError(f"{path}: wrong SHA-256; the file was changed or damaged, copy it again")
        return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits; raises BundleError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}") from error
    return digest.hexdigest()


def variant_to_json(variant: Variant) -> dict[str, Any]:
    """A variant as plain JSON values."""
    return {**dataclasses.asdict(variant), "bytes": variant.bytes}


def _read_manifest(directory: Path) -> dict[str, Any]:
    if not directory.exists():
        raise BundleError(f"{directory}: no such bundle")
    if not directory.is_dir():
        raise BundleError(f"{directory}: a bundle is a directory, this is a file")
    manifest = directory / MANIFEST
    try:
        raw = json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = ""
        if (directory / "config.json").exists():
            hint = "; it looks like a checkpoint: make a bundle with `wav2edge export CHECKPOINT BUNDLE`"
        raise BundleError(f"{directory}: no {MANIFEST}, so this is no wav2edge bundle{hint}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{manifest}: cannot be read ({error}); export the model again") from error
    if not isinstance(raw, dict):
        raise BundleError(f"{manifest}: damaged (no JSON object); export the model again")
    return raw


def _variant(values: Mapping[str, Any]) -> Variant:
    known = {item.name for item in dataclasses.fields(Variant)}
    kept = {key: value for key, value in values.items() if key in known}
    kept["data"] = tuple(kept.get("data", ()))
    kept["preferred_by"] = tuple(kept.get("preferred_by", ()))
    variant = Variant(**kept)
    for name in variant.files:
        if name not in variant.sha256 or name not in variant.sizes:
            raise BundleError(f"bundle.json: variant {variant.name} lists no size or digest for {name}")
    return variant


def _check_size(directory: Path, name: str, size: int) -> None:
    path = directory / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BundleError(f"{directory / MANIFEST}: {name!r} points outside the bundle; do not trust it")
    try:
        found = path.stat().st_size
    except OSError:
        raise BundleError(f"{path}: missing from the bundle; copy the whole directory again") from None
    if found != size:
        raise BundleError(f"{path}: {found} bytes where {size} are listed; the file is truncated or was changed")
