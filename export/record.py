"""What a bundle keeps of its checkpoint: copies of small files, and where it came from."""

from __future__ import annotations

import datetime
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..runtime.bundle.documents import ParityPointJson, ProvenanceJson
from . import parity
from .vocabulary import VOCABULARY

LANGUAGE_MODEL = "language_model"
_TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "numpy")


def copy_files(path: Path, staged: Path) -> tuple[str, ...]:
    """Copy vocabulary and language model; returns their names inside the bundle."""
    copied = []
    if (path / VOCABULARY).is_file():
        shutil.copyfile(path / VOCABULARY, staged / VOCABULARY)
        copied.append(VOCABULARY)
    folder = path / LANGUAGE_MODEL
    if folder.is_dir():
        for source in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{LANGUAGE_MODEL}/{source.relative_to(folder).as_posix()}"
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, staged / name)
            copied.append(name)
    return tuple(copied)


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
