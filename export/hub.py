"""Checkpoints by their name on the Hugging Face hub."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ..runtime.errors import CheckpointError
from .documents import announced_line
from .other_tools import found_instead
from .weights import trained_files

CONFIG = "config.json"
_SMALL = ("*.json", "*.txt", "*.model", "language_model/*")
_WEIGHTS = (
    ("model.safetensors", "model-*.safetensors", "adapter_model.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*.bin", "adapter_model.bin"),
    ("model.onnx*", "onnx/model.onnx*"),
)
"""Names of weight files, of which the first that a repository has are downloaded: safetensors, pickles, or the ONNX
files of a repository for transformers.js or of optimum."""
_REPOSITORY = re.compile(r"^[A-Za-z0-9][\w.\-]*/[\w.\-]+$")


def download(name: str, revision: str | None = None, language: str | None = None) -> Path:
    """Download a repository into the hub's cache; of weights for single languages only those of ``language``.

    Raises CheckpointError for a name that is not the hub's, or where the download fails.
    """
    if os.path.exists(name):
        meaning = found_instead([os.path.basename(name)])
        more = f"; {meaning}" if meaning else ""
        raise CheckpointError(f"{name}: a checkpoint is a directory, this is a file{more}")
    if not _REPOSITORY.match(name):
        raise CheckpointError(f"{name}: no such directory, and no name of the Hugging Face hub (OWNER/MODEL) either")
    from huggingface_hub import snapshot_download

    small = list(_SMALL) if language is None else [*_SMALL, f"adapter.{language}.*"]
    try:
        for names in _WEIGHTS:
            path = Path(snapshot_download(name, revision=revision, allow_patterns=[*small, *names]))
            if any(any(path.glob(each)) for each in names):
                return path
        held = _held(name, revision)
        if (trained := _trained(held)) is not None:
            return Path(snapshot_download(name, revision=revision, allow_patterns=[*small, trained]))
    except Exception as error:  # the hub's client passes on its HTTP library's errors, of many classes
        raise CheckpointError(
            f"{name}: no such directory, and the Hugging Face hub did not give it ({announced_line(error)[:160]}); "
            "download the checkpoint and name its directory"
        ) from error
    if (found := found_instead(held)) is not None:
        lacks = f"weights under a name that is read ({_WEIGHTS[0][0]})" if CONFIG in held else CONFIG
        raise CheckpointError(f"{name}: the repository has no {lacks}; {found}")
    return path


def _held(name: str, revision: str | None) -> list[str]:
    """The names of a repository's files; none where the hub cannot be asked, and the cache alone was read."""
    from huggingface_hub import HfApi

    with contextlib.suppress(Exception):  # it only says what is there
        return HfApi().list_repo_files(name, revision=revision)
    return []


def _trained(held: list[str]) -> str | None:
    """The one file of weights of another name beside a configuration, as ``weight_files`` takes it from a directory."""
    files = trained_files(file for file in held if "/" not in file)
    return files[0] if CONFIG in held and len(files) == 1 else None
