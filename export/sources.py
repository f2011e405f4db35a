"""Where a checkpoint's files are: a directory, a hub's cache, an adapter and its base model, or one foreign file.

For other kinds of files the error names the kind and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.errors import CheckpointError
from .bounds import check_sizes
from .documents import ConfigJson, is_file, read_document
from .families import family_of
from .foreign import find_dictionary, foreign_config, load_foreign
from .hub import CONFIG
from .languages import LanguageFiles
from .lora import LoraAdapter, open_adapter
from .other_tools import SPEECHBRAIN, found_instead
from .weights import load_weights, weight_files

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST_NAME = 100
"""Bytes read of a file that names a snapshot; a commit has 40 digits."""
_FOREIGN = (".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint's configuration and where its other files are."""

    path: Path
    """The directory with its vocabulary and preprocessing, or a foreign weight file."""
    config: ConfigJson
    """config.json, or the same made from a foreign file."""
    weights: tuple[Path, ...]
    """The files that its digest covers."""
    load: Callable[[tuple[Path, ...]], dict[str, Tensor]]
    """Its weights by name, those of a language from the files that are given; a LoRA adapter's matrices are merged."""
    languages: LanguageFiles | None = None
    """Where the weights of single languages are, if elsewhere than in ``path``."""
    vocabulary: Path | None = None
    """A file of labels elsewhere, or of another format, than vocab.json in ``path``."""
    normalize: bool | None = None
    """Whether clips are normalised, where the weight file states it or its kind determines it."""


def open_source(source: str | Path, revision: str | None, language: str | None) -> CheckpointSource:
    """Find a checkpoint and read its configuration.

    language: whose weights are downloaded with it. Raises CheckpointError where there is none, or of another kind.
    """
    if is_file(Path(source)) and Path(source).suffix in _FOREIGN:
        refuse_revision(Path(source), revision)
        return _open_foreign(Path(source))
    path = find_checkpoint(source, revision, language)
    adapter = open_adapter(path)
    if adapter is not None:
        return _open_adapter(adapter, language)
    config, files = read_config(path), weight_files(path)
    return CheckpointSource(path, config, files, lambda language: load_weights((*files, *language)))


def find_checkpoint(source: str | Path, revision: str | None, language: str | None = None) -> Path:
    """The directory of a checkpoint: as named, the snapshot in a hub cache's outer folder, or a download.

    Raises CheckpointError where there is none.
    """
    path = Path(source)
    if os.path.isdir(path):  # False for a name that no directory can have, where Path.is_dir raises
        refuse_revision(path, revision)
        return _snapshot(path) or path
    from .hub import download

    return download(str(source), revision, language)


def refuse_revision(path: Path, revision: str | None) -> None:
    """Raise CheckpointError for a revision of what is on this machine."""
    if revision is not None:
        kind = "directory" if os.path.isdir(path) else "file"
        raise CheckpointError(f"{path}: revision {revision!r} is for a name on the hub; this is a {kind}")


def read_config(path: Path) -> ConfigJson:
    """config.json; raises CheckpointError with what the directory is instead where it has none, or a foreign one."""
    if not (path / CONFIG).is_file():
        held = found_instead(file.name for file in path.glob("*"))
        raise CheckpointError(f"{path}: no {CONFIG}; {held or 'not a Hugging Face checkpoint'}")
    config = read_document(path / CONFIG, ConfigJson)
    if "speechbrain_interface" in config:
        raise CheckpointError(f"{path}: this is {SPEECHBRAIN}")
    check_sizes(config, path)
    return config


def _snapshot(path: Path) -> Path | None:
    """The snapshot that the hub's cache keeps inside ``models--OWNER--NAME``; None for any other directory."""
    snapshots = path / "snapshots"
    if (path / CONFIG).exists() or not snapshots.is_dir():
        return None
    main = _named_snapshot(path / "refs" / "main")
    if main is not None and (snapshots / main).is_dir():
        return snapshots / main
    stored = sorted(folder for folder in snapshots.iterdir() if folder.is_dir())
    if len(stored) == 1:
        return stored[0]
    raise CheckpointError(
        f"{path}: this is the outer folder of a hub cache with {len(stored)} snapshots; name one, such as "
        f"{stored[-1] if stored else snapshots / 'REVISION'}"
    )


def _named_snapshot(file: Path) -> str | None:
    """The name of a snapshot, a commit's digits, in a file of the hub's cache; None where there is none."""
    if not is_file(file):
        return None
    with file.open("rb") as opened:
        name = opened.read(_LONGEST_NAME).decode("ascii", "replace").strip()
    return name if name.isalnum() else None


def _open_adapter(adapter: LoraAdapter, language: str | None) -> CheckpointSource:
    """An adapter with the base model that it names; the small files are the adapter's where it has them.

    The weights of a language are the base model's, so they are loaded before the adapter is merged.
    """
    path = find_checkpoint(adapter.base, adapter.settings.get("revision"), language)
    base = read_config(path)
    files, family = weight_files(path), family_of(base, str(path))
    own = any((adapter.path / name).is_file() for name in ("vocab.json", "tokenizer.json", "preprocessor_config.json"))
    return CheckpointSource(
        path=adapter.path if own else path,
        config=adapter.config(base, family.classes),
        weights=(*files, adapter.file),
        load=lambda language: adapter.merge(load_weights((*files, *language)), family.core),
        languages=LanguageFiles(path, output_layer=not adapter.brings("lm_head.weight")),
    )


def _open_foreign(file: Path) -> CheckpointSource:
    state, settings = load_foreign(file)
    config = foreign_config(file, state, settings)
    check_sizes(config, file)
    normalize = settings.get("normalize", config["feat_extract_norm"] == "layer")
    return CheckpointSource(
        path=file,
        config=config,
        weights=(file,),
        load=lambda language: load_foreign(file)[0],
        vocabulary=find_dictionary(file),
        normalize=bool(normalize),
    )
