"""The embedded bundle and the clips of real speech that ship with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ..errors import BundleError
from .read import Bundle


def bundle_path() -> Path:
    """The directory of the embedded bundle (read-only in an installed package)."""
    path = _root() / "bundle"
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
    return _root() / "clips" / "manifest.jsonl"


def _root() -> Path:
    return Path(str(files("wav2edge.runtime") / "embedded_data"))
