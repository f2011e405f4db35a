"""Checkpoints by their name on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..runtime.errors import CheckpointError
from .documents import announced_line

_WANTED = ("*.json", "*.txt", "*.model", "model*.safetensors", "adapter_model.safetensors", "language_model/*")
_LEGACY = ("pytorch_model*.bin",)
_ONNX = ("model.onnx", "model.onnx_data", "onnx/model.onnx", "onnx/model.onnx_data")
"""What a repository for transformers.js or of optimum holds instead."""
_REPOSITORY = re.compile(r"^[A-Za-z0-9][\w.\-]*/[\w.\-]+$")


def download(name: str, revision: str | None = None, language: str | None = None) -> Path:
    """Download a repository into the hub's cache; of weights for single languages only those of ``language``.

    Raises CheckpointError for a name that is not the hub's, or where the download fails.
    """
    if os.path.exists(name):
        raise CheckpointError(f"{name}: a checkpoint is a directory, this is a file")
    if not _REPOSITORY.match(name):
        raise CheckpointError(f"{name}: no such directory, and no name of the Hugging Face hub (OWNER/MODEL) either")
    from huggingface_hub import snapshot_download

    wanted = list(_WANTED) if language is None else [*_WANTED, f"adapter.{language}.*"]

    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
        if not list(path.glob("model*.safetensors")):
            path = Path(snapshot_download(name, revision=revision, allow_patterns=[*wanted, *_LEGACY]))
        if not list(path.glob("*.safetensors")) and not list(path.glob("pytorch_model*.bin")):
            path = Path(snapshot_download(name, revision=revision, allow_patterns=[*wanted, *_ONNX]))
    except Exception as error:  # the hub's client passes on its HTTP library's errors, of many classes
        raise CheckpointError(
            f"{name}: no such directory, and the Hugging Face hub did not give it ({announced_line(error)[:160]}); "
            "download the checkpoint and name its directory"
        ) from error
    return path
