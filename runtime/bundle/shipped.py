"""Where the bundles and clips that ship with the package are; bundles have names that stand for their directories."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

NAMES = ("keyword", "speaker")
"""Shipped bundles besides the embedded one, which is used where none is named: ``-m keyword`` names one."""


def root() -> Path:
    """The directory of what ships (read-only in an installed package)."""
    return Path(str(files("wav2edge.runtime") / "embedded_data"))


def directory_of(bundle: str | Path) -> Path:
    """The directory that a name or a path means: a shipped bundle's, unless something of that name is there."""
    path = Path(bundle)
    if str(bundle) in NAMES and not path.exists() and (root() / path).is_dir():
        return root() / path
    return path
