"""Where the bundles and clips that ship with the package are, and the names of these bundles."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

EMBEDDED = "bundle"
"""The folder of the bundle that is used where none is named."""

NAMES = ("keyword", "speaker")
"""Shipped bundles besides the embedded one, which is used where none is named: ``-m keyword`` names one."""


def root() -> Path:
    """The directory of what ships (read-only in an installed package)."""
    return Path(str(files("wav2edge.runtime") / "embedded_data"))


def directory_of(bundle: str | Path) -> Path:
    """The directory for a name or a path: a shipped bundle's, unless a file or directory of that name exists."""
    path = Path(bundle)
    if str(bundle) in NAMES and not path.exists() and (root() / path).is_dir():
        return root() / path
    return path


def is_shipped(directory: Path) -> bool:
    """Whether a directory is that of a bundle which ships, however its path is written."""
    try:
        return directory.resolve() in {(root() / name).resolve() for name in (EMBEDDED, *NAMES)}
    except (OSError, RuntimeError):
        return False
