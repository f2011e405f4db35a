"""The embedded bundle and the clips of real speech that ship with the package."""

from __future__ import annotations

from pathlib import Path

from ..errors import BundleError
from .read import Bundle
from .shipped import EMBEDDED, root


def bundle_path() -> Path:
    """The directory of the embedded bundle (read-only in an installed package)."""
    path = root() / EMBEDDED
    if not path.is_dir():
        raise BundleError("this installation has no embedded bundle; name the bundle to use")
    return path


def resolve(bundle: str | Path | Bundle | None) -> Bundle:
    """A bundle that is open already, one that is named, or for None the embedded one; raises BundleError."""
    if isinstance(bundle, Bundle):
        return bundle
    return Bundle.open(bundle_path() if bundle is None else bundle)


def clips_manifest() -> Path:
    """The JSON Lines manifest of the clips: path, text, seconds, corpus, licence."""
    return root() / "clips" / "manifest.jsonl"
