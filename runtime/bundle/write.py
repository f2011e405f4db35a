"""Write bundles so that a reader sees the old one or the new one, never a mixture.

A new bundle is written in a temporary sibling directory and renamed. A new variant's files get names that no listed
file has, are flushed to the disk, and become part of the bundle when bundle.json is replaced, last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .. import documents
from ..errors import BundleError, InputError
from ..escape import is_utf8
from ..files import exchange, flush, flush_tree, occupied, staging, write_whole
from .documents import BundleJson, FileJson, MetricsJson
from .read import FORMAT, MANIFEST, Bundle, Variant, sha256, variant_to_json
from .spec import ModelSpec, Stage

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@contextlib.contextmanager
def new_bundle(destination: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory that becomes ``destination`` when the block ends without an error.

    A symbolic link of that name is followed. On an error nothing is left. Raises InputError when the destination exists
    (unless ``overwrite``, and then only if it is a bundle or empty), cannot be written, or has a path that is not
    UTF-8.
    """
    destination = Path(destination)
    place = Path(os.path.realpath(destination))
    if not is_utf8(str(place)):
        raise InputError(f"{destination}: this path is not UTF-8, which the exporter cannot open; choose another name")
    replaces = destination.exists() and any(destination.iterdir() if destination.is_dir() else [destination])
    if replaces and not overwrite:
        raise occupied(destination)
    if replaces and not _is_bundle(destination):
        raise InputError(f"{destination}: exists and is not a wav2edge bundle; choose another name")
    try:
        with staging(place) as folder:
            made = folder / "bundle"
            made.mkdir()
            yield made
            flush_tree(made)
            _put_in_place(made, place, replaces)
    except OSError as error:
        raise InputError(f"{destination}: cannot be written ({error.strerror or error})") from error


def _is_bundle(path: Path) -> bool:
    """Whether a folder is a bundle of any version, be it damaged: other programs have a bundle.json too."""
    try:
        values = documents.read_json(path / MANIFEST, "the manifest of a bundle")
    except InputError:
        return False
    kinds = {"format": int, "spec": dict, "variants": list}
    return isinstance(values, dict) and all(isinstance(values.get(name), kind) for name, kind in kinds.items())


def _put_in_place(made: Path, destination: Path, replaces: bool) -> None:
    """Move a new bundle to its name; what appeared there while it was made is never removed."""
    if replaces and _is_bundle(destination):
        exchange(made, destination)  # the old one is removed with the staging folder
    else:
        try:
            os.rename(made, destination)  # onto nothing or an empty folder; fails on anything else
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            kept = _free_sibling(destination)
            os.rename(made, kept)
            flush(kept.parent)
            raise InputError(f"{destination}: appeared while the bundle was made; the new bundle is {kept}") from None
    flush(destination.parent)


def _free_sibling(path: Path) -> Path:
    number = 2
    while (candidate := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return candidate


def describe_variant(
    directory: Path,
    name: str,
    precision: str,
    graphs: Mapping[Stage, str],
    *,
    scheme: str | None = None,
    data: Iterable[str] = (),
    preferred_by: Iterable[str] = (),
    made_from: str | None = None,
    metrics: MetricsJson | None = None,
) -> Variant:
    """A Variant for files in ``directory``, with their sizes and digests."""
    files = tuple(dict.fromkeys((*graphs.values(), *data)))
    return Variant(
        name=name,
        precision=precision,
        graphs=dict(graphs),
        sha256={file: sha256(directory / file) for file in files},
        sizes={file: (directory / file).stat().st_size for file in files},
        scheme=scheme,
        data=tuple(data),
        preferred_by=tuple(preferred_by),
        made_from=made_from,
        metrics=metrics.copy() if metrics else {},
    )


def write_manifest(
    directory: Path,
    spec: ModelSpec,
    variants: Iterable[Variant],
    provenance: Mapping[str, object],
    files: Iterable[str] = (),
    unknown: Mapping[str, object] | None = None,
) -> Bundle:
    """Write bundle.json, replacing an old one in one step, and read it back.

    files: names in ``directory`` that belong to no variant (vocab.json, selftest.npz …).
    unknown: keys to carry over from the bundle.json that this one replaces.
    """
    values = {
        **(unknown or {}),
        "format": FORMAT,
        "spec": spec.to_json(),
        "variants": [variant_to_json(variant) for variant in variants],
        "files": {name: _listing(directory / name, name) for name in files},
        "provenance": dict(provenance),
    }
    _replace_json(directory / MANIFEST, values)
    return Bundle.open(directory, ask_signature=False)


def free_stem(bundle: Bundle, name: str) -> str:
    """A file stem for a variant ``name`` that no listed file starts with, so that the old files stay valid."""
    listed = {file for variant in bundle.variants for file in variant.files}
    stem, number = name, 1
    while any(file.startswith(f"{stem}.") for file in listed):
        number += 1
        stem = f"{name}-{number}"
    return stem


def add_variants(
    bundle: Bundle,
    staged: Path,
    variants: Iterable[Variant],
    *,
    files: Callable[[Bundle], Mapping[str, str]] | None = None,
    extra: Mapping[str, object] | None = None,
) -> Bundle:
    """Move staged files into the bundle and list the variants; one of the same name is replaced.

    staged: a directory on the same file system with the files of the variants (named from ``free_stem``). files: makes
    the texts of further files (such as calibration.json), by name, from the bundle as it is under the lock, so that
    they can carry over what others added; a new one gets a free name, see ``Bundle.file``. Until bundle.json is
    replaced the bundle is the old one; what an interruption leaves is unlisted, and ignored. ``extra`` adds keys to
    bundle.json.

    What others added since ``bundle`` was opened stays: bundle.json is read again, under a lock. Raises BundleError
    where a staged name was taken, or the model was exported anew meanwhile; InputError where nothing can be written.
    """
    with _locked(bundle.directory):
        now = Bundle.open(bundle.directory, ask_signature=False)
        names = _stage_texts(staged, {} if files is None else files(now))
        return _add(bundle, now, staged, tuple(variants), names, extra or {})


def _stage_texts(staged: Path, texts: Mapping[str, str]) -> tuple[str, ...]:
    """Write texts into a staged folder as UTF-8; returns their names. Raises InputError."""
    try:
        for name, text in texts.items():
            (staged / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{staged}: cannot be written ({error.strerror or error})") from error
    return tuple(texts)


def _add(
    opened: Bundle,
    bundle: Bundle,
    staged: Path,
    added: tuple[Variant, ...],
    files: tuple[str, ...],
    extra: Mapping[str, object],
) -> Bundle:
    """``opened``: the bundle as the caller read it. ``bundle``: the bundle as it is on the disk."""
    names = {variant.name for variant in added}
    kept = tuple(variant for variant in bundle.variants if variant.name not in names)
    before = _listed_files(bundle.document)
    sources = {variant.made_from for variant in added}
    if _digests(opened, sources) != _digests(bundle, sources):
        raise BundleError(f"{bundle.path}: the model was exported anew meanwhile; run this again")
    for variant in added:
        if clash := sorted(before.intersection(variant.files)):
            if clash[0] in _listed_files(opened.document):
                raise BundleError(f"{bundle.path}: {clash[0]} is in use; name staged files with free_stem")
            raise BundleError(f"{bundle.path}: {clash[0]} was added by another process meanwhile; run this again")
    listed = dict(bundle.document["files"])
    try:
        for name in [file for variant in added for file in variant.files]:
            flush(staged / name)
            os.replace(staged / name, bundle.directory / name)
        for name in files:
            flush(staged / name)
            stored = _free_name(name, before)
            listed[name] = _listing(staged / name, stored)
            os.replace(staged / name, bundle.directory / stored)
    except OSError as error:
        raise InputError(f"{bundle.path}: cannot be written ({error.strerror or error})") from error
    values = cast(
        BundleJson,
        {
            **bundle.document,
            **extra,
            "variants": [variant_to_json(variant) for variant in (*kept, *added)],
            "files": listed,
        },
    )
    _replace_json(bundle.directory / MANIFEST, values)
    for stale in before - _listed_files(values):
        (bundle.directory / stale).unlink(missing_ok=True)
    return Bundle.open(bundle.directory, ask_signature=False)


def set_head_options(bundle: Bundle, options: object) -> Bundle:
    """Replace the options of a bundle's head (a dataclass of runtime/heads); what this version does not know stays.

    Raises InputError where bundle.json cannot be written. A signature of the bundle no longer holds.
    """
    with _locked(bundle.directory):
        document = Bundle.open(bundle.directory).document
        spec = document["spec"]
        known = dataclasses.asdict(cast("DataclassInstance", options))
        changed = {**document, "spec": {**spec, "head_options": {**spec["head_options"], **known}}}
        _replace_json(bundle.directory / MANIFEST, changed)
    return Bundle.open(bundle.directory, ask_signature=False)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the directory against other writers; on a file system without locks nothing is locked."""
    if sys.platform == "win32":  # which cannot open a folder
        yield
        return
    import fcntl

    try:
        handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{directory}: cannot be opened ({error.strerror or error})") from error
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _digests(bundle: Bundle, names: Iterable[str | None]) -> dict[str, Mapping[str, str]]:
    """The digests of the named variants that the bundle has."""
    wanted = set(names)
    return {variant.name: variant.sha256 for variant in bundle.variants if variant.name in wanted}


def _listed_files(document: BundleJson) -> set[str]:
    stored = {entry["file"] for entry in document["files"].values()}
    return stored | {name for variant in document["variants"] for name in variant["sizes"]}


def _listing(path: Path, stored: str) -> FileJson:
    return {"file": stored, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _free_name(name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.partition(".")
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{stem}-{number}{dot}{suffix}"
    return candidate


def _replace_json(path: Path, values: Mapping[str, object]) -> None:
    try:
        write_whole(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
