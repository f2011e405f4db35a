"""Layouts of other tools: a bundle as the files that another runtime loads. A file in this folder is a layout.

A layout is a *module* that satisfies the protocol ``Layout``. It works from the bundle's ONNX files (onnx, no torch),
refuses with the reason what its client would run wrong, and writes a README with the lines that run the files.
"""

from __future__ import annotations

import gzip
import json
import os
import pkgutil
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Protocol, TypedDict, cast

from ... import __version__
from ...runtime import documents, remedies
from ...runtime.bundle.read import Bundle, Variant
from ...runtime.errors import EngineError, InputError
from ...runtime.files import exchange, fixed, flush, flush_tree, occupied, replace_whole, staging, write_whole
from ._job import Job, Readme

ARCHIVES = (".tar", ".tar.gz", ".tgz")
"""Endings of a destination that becomes one file; any other is a folder."""
MARK = "wav2edge.json"
"""The file that says what a packed folder was made from, and lists its files; only a folder that has it, and no file
besides those, is ever replaced."""


class _MarkJson(TypedDict, total=False):
    files: list[str]


class Layout(Protocol):
    """What a module of this folder offers.

    NAME: its name for ``pack --for``. CLIENT: the tool that loads it, with the version that was tried. ARGUMENT: what
    may follow the name after a colon, as the help shows it; empty where nothing may.
    """

    NAME: str
    CLIENT: str
    ARGUMENT: str

    def write(self, job: Job, folder: Path) -> Readme:
        """Write the files into an empty folder; raises InputError or BundleError where the client cannot use it."""


@dataclass(frozen=True)
class PackedLayout:
    """A packed layout: its path, variants, size in bytes, and the lines that run it."""

    path: Path
    client: str
    variants: tuple[Variant, ...]
    bytes: int
    readme: Readme


def names() -> tuple[str, ...]:
    """The names of the layouts."""
    return tuple(sorted(each.NAME for each in _layouts()))


def shown_names() -> tuple[str, ...]:
    """The names as the help shows them, such as ``static:10s``."""
    found = sorted(_layouts(), key=lambda each: each.NAME)
    return tuple(f"{each.NAME}{each.ARGUMENT}" for each in found)


def is_layout(name: str) -> bool:
    """Whether a name, without what follows its colon, is a layout's."""
    return name.partition(":")[0] in names()


def pack(
    bundle: Bundle, name: str, destination: Path, *, variants: Sequence[str] = (), overwrite: bool = False
) -> PackedLayout:
    """Write a bundle in another tool's layout: a folder, or one file where the destination ends in .tar or .tgz.

    name: a layout, perhaps with an argument after a colon (``static:10s``). variants: names to pack instead of those
    that suit the client. The destination appears whole or not at all; the same bundle gives the same bytes. Raises
    InputError or BundleError for what the client cannot run, with the reason, and for a destination that cannot be
    used; EngineError where onnx is missing.
    """
    base, _, argument = name.partition(":")
    chosen = layout(base)
    if argument and not chosen.ARGUMENT:
        raise InputError(f"{name}: the layout {base} takes nothing after a colon")
    _need_onnx()
    archive = destination.name.endswith(ARCHIVES)
    _check_free(destination, archive, overwrite)
    stem = _stem(destination.name) if archive else destination.absolute().name
    job = Job(bundle, tuple(bundle.variant(wanted) for wanted in variants), argument, stem)
    try:
        # A link to a folder is followed, one to an archive replaced (runtime.files.replace_whole).
        target = fixed(destination) if archive else Path(os.path.realpath(destination))
        with staging(target) as place:
            made = place / stem
            made.mkdir()
            readme = chosen.write(job, made)
            write_whole(made / "README.md", readme.text(chosen.CLIENT, job))
            origin = {**_origin(name, job), "files": sorted(_files(made))}
            write_whole(made / MARK, json.dumps(origin, indent=1) + "\n")
            size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
            if archive:
                with replace_whole(target) as temporary, temporary.open("wb") as file:
                    _write_archive(file, destination.suffix != ".tar", made)
            else:
                _put_in_place(made, target)
    except OSError as error:
        raise InputError(f"{destination}: cannot be written ({error.strerror or error})") from error
    return PackedLayout(destination, chosen.CLIENT, tuple(job.used), size, readme)


def _layouts() -> list[Layout]:
    found = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return [cast(Layout, import_module(f"{__name__}.{name}")) for name in found]


def layout(name: str) -> Layout:
    """The layout of that name; raises InputError naming those there are."""
    for each in _layouts():
        if name == each.NAME:
            return each
    raise InputError(f"no layout {name!r}; there are {', '.join(shown_names())}")


def _need_onnx() -> None:
    try:
        import_module("onnx")
    except ImportError:
        raise EngineError(
            f"another tool's layout needs onnx; install it with `{remedies.install('calibrate')}`"
        ) from None


def _check_free(destination: Path, archive: bool, overwrite: bool) -> None:
    if not os.path.lexists(destination):
        return
    if archive:
        if destination.is_dir():
            raise InputError(f"{destination}: is a folder; choose another name")
        if not overwrite:
            raise occupied(destination)
        return
    if not destination.is_dir():
        raise InputError(f"{destination}: is a file; name a folder, or end it in {' or '.join(ARCHIVES)}")
    if not any(destination.iterdir()):
        return
    if not (destination / MARK).is_file():
        raise InputError(f"{destination}: exists and was not written by pack; choose another name")
    if not overwrite:
        raise occupied(destination)
    _check_own(destination)


def _check_own(folder: Path) -> None:
    """Raise InputError where a packed folder has a file that is not on its list: replacing it would remove the file."""
    listed = documents.read(folder / MARK, _MarkJson, "a list of packed files").get("files", [])
    others = sorted(_files(folder) - {MARK, *listed})
    if others:
        raise InputError(f"{folder}: {others[0]} was not written by pack; move it away, or choose another name")


def _files(folder: Path) -> set[str]:
    """The names of all files below a folder, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def _put_in_place(made: Path, destination: Path) -> None:
    flush_tree(made)
    if (destination / MARK).is_file():
        exchange(made, destination)  # the old one is removed with the staging folder
    else:
        os.rename(made, destination)  # onto nothing or an empty folder; fails on anything else
    flush(destination.parent)


def _stem(name: str) -> str:
    return next(name[: -len(ending)] for ending in sorted(ARCHIVES, key=len, reverse=True) if name.endswith(ending))


def _origin(name: str, job: Job) -> dict[str, object]:
    return {
        "layout": name,
        "wav2edge": __version__,
        "variants": {variant.name: dict(variant.sha256) for variant in job.used},
    }


def _write_archive(file: IO[bytes], compressed: bool, folder: Path) -> None:
    """Every file of a folder in the order of its name, without times and owners: equal content gives equal bytes."""
    with ExitStack() as stack:
        stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0)) if compressed else file
        archive = stack.enter_context(tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT))
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)
