"""What a bundle keeps of its checkpoint: copies of small files, and where it came from."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..runtime.bundle.documents import ParityPointJson, ProvenanceJson
from ..runtime.errors import CheckpointError
from . import parity
from .vocabulary import VOCABULARY

LANGUAGE_MODEL = "language_model"
_TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "numpy")


def copy_files(path: Path, vocabulary: Path | None, staged: Path) -> tuple[str, ...]:
    """Copy the vocabulary that the labels are from, and the language model; returns their names inside the bundle.

    path: the checkpoint. vocabulary: ``Labels.vocabulary``.
    Raises CheckpointError for what is no plain file, and for a symbolic link that leads out of the checkpoint: a
    directory of unknown origin must not copy files of this machine into a bundle that is then passed on.
    """
    copied = []
    if vocabulary == path / VOCABULARY:
        copied.append(_copy(path, VOCABULARY, staged))
    elif vocabulary is not None:  # the user names it
        shutil.copyfile(vocabulary, staged / VOCABULARY)
        copied.append(VOCABULARY)
    folder = path / LANGUAGE_MODEL
    if folder.is_dir():
        for source in sorted(source for source in folder.rglob("*") if not source.is_dir() or source.is_symlink()):
            copied.append(_copy(path, f"{LANGUAGE_MODEL}/{source.relative_to(folder).as_posix()}", staged))
    return tuple(copied)


def _copy(path: Path, name: str, staged: Path) -> str:
    source = path / name
    found = Path(os.path.realpath(source))
    if not any(found.is_relative_to(place) for place in _places(path)):
        raise CheckpointError(
            f"{source}: a symbolic link leads out of the checkpoint; put the file itself there, if you trust where it "
            "comes from"
        )
    if not found.is_file():
        raise CheckpointError(f"{source}: is not a plain file; remove it, or put the file itself there")
    (staged / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, staged / name)
    return name


def _places(path: Path) -> Iterator[Path]:
    """Where a checkpoint's files may be: its directory, and where the hub's cache keeps what a snapshot links to."""
    real = Path(os.path.realpath(path))
    yield real
    if real.parent.name == "snapshots" and real.parent.parent.name.startswith("models--"):
        yield real.parent.parent / "blobs"


def provenance(
    name: str, digest: str, parameters: int, points: tuple[ParityPointJson, ...], reference: str = "torch"
) -> ProvenanceJson:
    """Where a bundle came from; digest: of the weights; reference: what the points were compared with."""
    return {
        "checkpoint": Path(name).resolve().name if Path(name).exists() else name,
        "weights_sha256": digest,
        "parameters": parameters,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "tools": {"python": platform.python_version(), **{name: _version(name) for name in ("wav2edge", *_TOOLS)}},
        "parity": {
            "tolerance": parity.TOLERANCE,
            "engine": "onnxruntime",
            "reference": reference,
            "points": list(points),
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
