"""wav2edge's own wheel: built from its source, or from the files of the installed package where there is no source."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ...runtime import children
from ...runtime.errors import InputError, first_line

NAME = "wav2edge"
_KEPT = ("METADATA", "entry_points.txt")
_KEPT_FOLDERS = ("licenses", "sboms")
_TIME = (2020, 2, 2, 0, 0, 0)  # hatchling's for reproducible wheels


def wheel(folder: Path) -> Path:
    """Make the wheel of the wav2edge that runs, in ``folder``; the same program gives the same bytes.

    Raises InputError where neither the source with its build tool nor the metadata of an installation is at hand.
    """
    source = source_folder()
    if source is not None and importlib.util.find_spec("hatchling") is not None:
        return _built(source, folder)
    return rebuilt(folder)


def source_folder() -> Path | None:
    """The folder of the source checkout that runs; None for an installed package."""
    root = _package().parent.parent
    return root if (root / "pyproject.toml").is_file() and _package() == root / "src" / NAME else None


def rebuilt(folder: Path) -> Path:
    """Make the wheel from the files of the installed package and its metadata (PEP 427)."""
    try:
        distribution = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{NAME} was not installed, so its wheel cannot be made; install it with `pip install .` in its folder, or "
            "give the wheel"
        ) from None
    info = f"{NAME}-{distribution.version}.dist-info"
    path = folder / f"{NAME}-{distribution.version}-py3-none-any.whl"
    entries = [*_package_files(), *_metadata_files(distribution, info)]
    tags = "Wheel-Version: 1.0\nGenerator: wav2edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in [*entries, (f"{info}/WHEEL", tags.encode())]:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}\n")
            _add(archive, name, content)
        _add(archive, f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]).encode())
    return path


def _built(source: Path, folder: Path) -> Path:
    command = children.module("hatchling", "build", "-t", "wheel", "-d", str(folder))
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    found = sorted(folder.glob(f"{NAME}-*.whl"))
    if done.returncode or not found:
        reason = first_line(ValueError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no wheel"))
        raise InputError(f"{source}: its wheel cannot be built ({reason})")
    return found[0]


def _package() -> Path:
    spec = importlib.util.find_spec(NAME)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _package_files() -> Iterator[tuple[str, bytes]]:
    """The package's files by their names in the wheel, sorted; folders that are links are followed."""
    found = {}
    for folder, folders, names in os.walk(_package(), followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = Path(folder, name)
            if path.suffix not in (".pyc", ".pyo"):
                found[f"{NAME}/{path.relative_to(_package()).as_posix()}"] = path
    for name in sorted(found):
        yield name, found[name].read_bytes()


def _metadata_files(distribution: importlib.metadata.Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    for name in _KEPT:
        text = distribution.read_text(name)
        if text is not None:
            yield f"{info}/{name}", text.encode("utf-8")
    for file in sorted(distribution.files or [], key=str):
        parts = file.parts
        if len(parts) > 2 and parts[0].endswith(".dist-info") and parts[1] in _KEPT_FOLDERS:
            yield "/".join((info, *parts[1:])), Path(str(file.locate())).read_bytes()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, content)


def is_wheel(wheel: Path) -> bool:
    """Whether a file is a wheel of wav2edge, whole enough to be listed."""
    if not re.fullmatch(r"wav2edge-.+\.whl", wheel.name):
        return False
    try:
        with zipfile.ZipFile(wheel) as archive:
            return any(re.fullmatch(r"wav2edge-[^/]+\.dist-info/METADATA", name) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
