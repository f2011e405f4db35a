"""Weights from safetensors, or from pickles that are not allowed to run code."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..runtime.errors import CheckpointError
from .documents import WeightIndexJson, announced_line, is_file, read_document
from .other_tools import found_instead, is_of_training

if TYPE_CHECKING:
    from torch import Tensor

_NAMES = ("model.safetensors", "pytorch_model.bin")
_CONTAINERS = ("state_dict", "model", "module", "model_state_dict", "Upstream")
"""Keys under which training loops save a model beside their own state (Lightning, fairseq, Accelerate, plain loops,
s3prl)."""
_TRAINED = ("*.ckpt", "*.pt", "*.pth")
"""Names of weight files of SpeechBrain, s3prl and training loops."""
_LFS = b"version https://git-lfs.github.com/spec/"
_TENSORFLOW = ("tf_model.h5", "flax_model.msgpack")


def weight_files(path: Path) -> tuple[Path, ...]:
    """A checkpoint's weight files, safetensors first, shards in order; raises CheckpointError where there are none."""
    for name in _NAMES:
        if (path / name).is_file():
            return (path / name,)
        index = read_document(path / f"{name}.index.json", WeightIndexJson)
        if "weight_map" in index:
            shards = tuple(path / shard for shard in sorted({str(shard) for shard in index["weight_map"].values()}))
            for shard in shards:
                if shard.parent != path or not is_file(shard):
                    raise CheckpointError(f"{shard}: listed in {name}.index.json, but missing")
            return shards
    if (trained := _trained_file(path)) is not None:
        return (trained,)
    for name in _TENSORFLOW:
        if (path / name).is_file():
            raise CheckpointError(
                f"{path}: its weights are of TensorFlow or Flax ({name}), which transformers 5 does not read; convert "
                "them with transformers 4 (from_pretrained with from_tf or from_flax, then save_pretrained)"
            )
    raise CheckpointError(f"{path}: no weights; it needs {' or '.join(_NAMES)}{_others(path)}")


def _others(path: Path) -> str:
    """What to do with files that may be weights under another name, for an error; empty where there are none."""
    files = sorted(file.name for pattern in ("*.safetensors", "*.bin") for file in path.glob(pattern))
    files = [name for name in files if not is_of_training(name)]
    if files:
        name = _NAMES[0] if files[0].endswith(".safetensors") else _NAMES[1]
        return f"; if {files[0]} holds them, rename it to {name}"
    held = found_instead(file.name for file in path.glob("*"))
    return f"; {held}" if held else ""


def _trained_file(path: Path) -> Path | None:
    """The only file of weights with another name; raises CheckpointError where there are several."""
    names = trained_files(file.name for file in path.glob("*"))
    if len(names) > 1:
        raise CheckpointError(
            f"{path}: {' and '.join(names[:2])} may both be its weights; copy the one that holds "
            f"the model, with the files of settings, into another directory as {_NAMES[1]}"
        )
    return path / names[0] if names else None


def trained_files(names: Iterable[str]) -> list[str]:
    """Of the names of a directory's files those that may be weights with another name, in order."""
    found = (name for name in names if any(fnmatchcase(name, pattern) for pattern in _TRAINED))
    return sorted(name for name in found if not is_of_training(name))


def load_weights(files: tuple[Path, ...]) -> dict[str, Tensor]:
    """All tensors by name; raises CheckpointError for a damaged file or a pickle that would run code."""
    state: dict[str, Tensor] = {}
    for file in files:
        state.update(_load_safetensors(file) if file.suffix == ".safetensors" else _load_pickle(file))
    return state


def tensor_shape(file: Path, name: str) -> tuple[int, ...]:
    """The shape of one tensor of a weight file; raises CheckpointError where the file lacks it."""
    state = load_weights((file,))
    if name not in state:
        raise CheckpointError(f"{file}: holds no {name}")
    return tuple(state[name].shape)


@contextlib.contextmanager
def unfilled() -> Iterator[None]:
    """Leave out the random numbers that new modules are filled with, where a checkpoint's weights follow anyway.

    Generating them takes a tenth of an export's time, and their memory in addition to that of the weights.
    """
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

    drawn = {Tensor.uniform_, Tensor.normal_, Tensor.erfinv_}

    class Unfilled(TorchFunctionMode):
        """Returns a tensor as it is where it would be filled with random numbers."""

        def __torch_function__(
            self,
            func: Callable[..., object],
            types: tuple[type, ...],
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            return args[0] if func in drawn else func(*args, **(kwargs or {}))

    with Unfilled():
        yield


def _load_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_pointer(file)
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: truncated or damaged ({announced_line(error)}); download it again") from error


def _load_pickle(file: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    refuse_pointer(file)
    try:
        # Files of torch's older format cannot be mapped.
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file}: this pickle would run code, or is damaged; it was not loaded. "
            "Ask its author for model.safetensors"
        ) from error
    except Exception as error:  # bytes read as a pickle end in errors of any class
        raise CheckpointError(f"{file}: truncated or damaged ({announced_line(error)}); download it again") from error
    return _tensors(file, state)


def _tensors(file: Path, state: object) -> dict[str, Tensor]:
    """The tensors by name in a loaded pickle, in whatever container a training loop put them."""
    import torch

    while isinstance(state, dict):
        if state and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()):
            return cast("dict[str, Tensor]", state)
        inner = [state[key] for key in _CONTAINERS if isinstance(state.get(key), dict)]
        if not inner:
            break
        state = inner[0]
    raise CheckpointError(
        f"{file}: no dictionary of tensors by name; save the model's state_dict, or the model with save_pretrained"
    )


def refuse_pointer(file: Path) -> None:
    """Raise CheckpointError for a pointer of Git LFS: three lines of text in place of the weights."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(_LFS))
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror or error})") from error
    if start == _LFS:
        raise CheckpointError(
            f"{file}: is a Git LFS pointer, not the weights; run `git lfs pull` in the checkpoint's directory, "
            "or download the file from the hub"
        )
