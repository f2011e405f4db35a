"""A checkpoint of any kind: weights for torch, or an ONNX file that another exporter wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.bundle.read import Bundle
from ..runtime.errors import CheckpointError, InputError
from ..runtime.escape import is_utf8
from .checkpoint import Checkpoint
from .onnx_files import OnnxCheckpoint, find_onnx, open_onnx
from .sources import find_checkpoint, refuse_revision

if TYPE_CHECKING:
    from ..runtime.bundle.documents import ParityPointJson

NEEDED = ("torch", "transformers", "onnx", "safetensors", "onnxruntime")
"""The packages that an export imports."""
NEEDED_FOR_ONNX = ("onnx", "onnxruntime")
"""The packages that the import of an ONNX file needs."""


def needed(source: str | Path) -> tuple[str, ...]:
    """The packages that ``source`` needs."""
    return NEEDED if find_onnx(Path(source)) is None else NEEDED_FOR_ONNX


def open_checkpoint(
    source: str | Path,
    normalize: bool | None = None,
    revision: str | None = None,
    language: str | None = None,
    *,
    ignore_weights: Sequence[str] = (),
    vocab: str | Path | None = None,
    label_groups: Sequence[int] = (),
) -> Checkpoint | OnnxCheckpoint:
    """As ``Checkpoint.open``, and an ONNX file, or a directory or repository that holds no other weights."""
    if not is_utf8(str(source)):
        raise CheckpointError(f"{source}: this path is not UTF-8, which the readers of weights cannot open; rename it")
    local = Path(source).exists()
    place = source if local else find_checkpoint(source, revision, language)
    found = open_onnx(place, normalize, language, vocab, label_groups)
    if found is not None:
        if local:
            refuse_revision(Path(source), revision)
        if ignore_weights:
            raise CheckpointError(f"{found.name}: ignore_weights is for weights that torch loads, not for an ONNX file")
        return found
    return Checkpoint.open(
        source, normalize, revision, language, ignore_weights=ignore_weights, vocab=vocab, label_groups=label_groups
    )


def export_checkpoint(
    checkpoint: Checkpoint | OnnxCheckpoint,
    destination: Path,
    *,
    trained_seconds: float | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda step: None,
    on_parity: Callable[[tuple[ParityPointJson, ...]], None] = lambda points: None,
) -> Bundle:
    """Write a bundle of either kind: see ``pipeline.export`` and ``onnx_import.import_onnx``.

    Raises InputError, too, for ``trained_seconds`` that are no length, and for a destination that is, or has inside it,
    the checkpoint's directory, which ``overwrite`` would remove.
    """
    if Path(os.path.realpath(checkpoint.path)).is_relative_to(os.path.realpath(destination)):
        raise InputError(f"{destination}: the checkpoint {checkpoint.path} is in it; choose another name")
    if trained_seconds is not None and not 0 < trained_seconds < float("inf"):
        raise InputError(f"trained_seconds={trained_seconds}: give the length of a clip in seconds")
    if isinstance(checkpoint, OnnxCheckpoint):
        from .onnx_import import import_onnx

        write = partial(import_onnx, checkpoint)
    else:
        from .pipeline import export

        write = partial(export, checkpoint)
    return write(
        destination, trained_seconds=trained_seconds, overwrite=overwrite, progress=progress, on_parity=on_parity
    )
