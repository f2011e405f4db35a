"""Weights from safetensors or from a pickle that is not allowed to run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..runtime.errors import CheckpointError
from .json_files import read_json

_NAMES = ("model.safetensors", "pytorch_model.bin")


def weight_files(path: Path) -> tuple[Path, ...]:
    """A checkpoint's weight files, safetensors first, shards in order; raises CheckpointError where there are none."""
    for name in _NAMES:
        if (path / name).is_file():
            return (path / name,)
        index = read_json(path / f"{name}.index.json").get("weight_map")
        if isinstance(index, dict):
            shards = tuple(path / shard for shard in sorted({str(shard) for shard in index.values()}))
            for shard in shards:
                if shard.parent != path or not shard.is_file():
                    raise CheckpointError(f"{shard}: listed in {name}.index.json, but missing")
            return shards
    raise CheckpointError(f"{path}: no weights; it needs {' or '.join(_NAMES)}")


def load_weights(files: tuple[Path, ...]) -> dict[str, Any]:
    """All tensors by name; raises CheckpointError for a damaged file or a pickle that wants to run code."""
    state: dict[str, Any] = {}
    for file in files:
        state.update(_load_safetensors(file) if file.suffix == ".safetensors" else _load_pickle(file))
    return state


def _load_safetensors(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: truncated or damaged ({_first_line(error)}); download it again") from error


def _load_pickle(file: Path) -> dict[str, Any]:
    import pickle

    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file}: this pickle wants to run code, or is damaged; it was not loaded. "
            "Ask its author for model.safetensors"
        ) from error
    except Exception as error:  # bytes read as a pickle end in errors of any class
        raise CheckpointError(f"{file}: truncated or damaged ({_first_line(error)}); download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{file}: no dictionary of tensors")
    if not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{file}: no dictionary of tensors by name")
    return state


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
