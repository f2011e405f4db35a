"""Where a checkpoint is, and what a directory is that is not a checkpoint of transformers."""

from __future__ import annotations

from pathlib import Path

from ..runtime.errors import CheckpointError
from .documents import ConfigJson, read_document

CONFIG = "config.json"
_SIGNS = (
    (
        "adapter_config.json",
        "a PEFT adapter without the model that it adapts; save the model after merge_and_unload() and export that",
    ),
    (
        "hyperparams.yaml",
        "a SpeechBrain directory; save its transformers model with save_pretrained and export that",
    ),
    (
        "dict.*.txt",
        "a fairseq directory; convert it with transformers' convert_wav2vec2_original_pytorch_checkpoint_to_pytorch",
    ),
    ("*.nemo", "a NeMo model, which is of another family"),
    ("*.onnx", "ONNX graphs without their configuration"),
    (
        "*.h5",
        "a TensorFlow model without config.json; save it with transformers' save_pretrained and convert it to PyTorch",
    ),
)
"""A file that tells, and what the directory is then."""


def find_checkpoint(source: str | Path, revision: str | None) -> Path:
    """The directory of a checkpoint: as named, the snapshot in a hub cache's outer folder, or a download.

    Raises CheckpointError where there is none.
    """
    path = Path(source)
    if path.is_dir():
        return _snapshot(path) or path
    from .hub import download

    return download(str(source), revision)


def read_config(path: Path) -> ConfigJson:
    """config.json; raises CheckpointError with what the directory is instead where it has none, or a foreign one."""
    if not (path / CONFIG).is_file():
        for pattern, meaning in _SIGNS:
            if any(path.glob(pattern)):
                raise CheckpointError(f"{path}: no {CONFIG}; this is {meaning}")
        raise CheckpointError(f"{path}: no {CONFIG}; not a Hugging Face checkpoint")
    config = read_document(path / CONFIG, ConfigJson)
    if "speechbrain_interface" in config:
        raise CheckpointError(f"{path}: this is {dict(_SIGNS)['hyperparams.yaml']}")
    return config


def _snapshot(path: Path) -> Path | None:
    """The snapshot that the hub's cache keeps inside ``models--OWNER--NAME``; None for any other directory."""
    snapshots = path / "snapshots"
    if (path / CONFIG).exists() or not snapshots.is_dir():
        return None
    main = path / "refs" / "main"
    if main.is_file() and (named := snapshots / main.read_text(encoding="utf-8").strip()).is_dir():
        return named
    found = sorted(folder for folder in snapshots.iterdir() if folder.is_dir())
    if len(found) == 1:
        return found[0]
    raise CheckpointError(
        f"{path}: this is the outer folder of a hub cache with {len(found)} snapshots; name one, such as "
        f"{found[-1] if found else snapshots / 'REVISION'}"
    )
