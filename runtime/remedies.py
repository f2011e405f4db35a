"""The shell line that installs what is missing in the environment that runs; wav2edge is not in a package index."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path

_EXTRA = re.compile(r"""\s*(?:\band\s+)?\bextra\s*==\s*(['"])([\w.-]+)\1""")


def install(*extras: str) -> str:
    """The line that installs the packages of one or more extras, such as ``pip install "sounddevice>=0.5"``.

    The packages are named one by one, so that it works wherever pip reaches an index: on a board that got wav2edge as
    a file, in an environment that is not activated, on a system whose own Python refuses packages.
    """
    named = [text for extra in extras for text in _requirements(extra)]
    if not named:  # run from its source, with the metadata of another version or none
        named = [f"{Path(__file__).resolve().parent.parent}[{','.join(extras)}]"]
    return " ".join([f"{pip()} install", *(f'"{text}"' for text in dict.fromkeys(named))])


def pip() -> str:
    """How pip is called for the environment that runs."""
    if importlib.util.find_spec("pip") is None:
        return f"uv pip --python {shlex.quote(sys.executable)}" if _activated() is None else "uv pip"
    return "pip" if _activated() is not None else f"{shlex.quote(sys.executable)} -m pip"


def _activated() -> str | None:
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    return active if active is not None and Path(active) == Path(sys.prefix) else None


def _requirements(extra: str) -> list[str]:
    """The requirements of an extra, with their markers except that of the extra."""
    from importlib import metadata  # slow to import, and needed only where something is missing

    try:
        lines = metadata.requires("wav2edge") or []
    except metadata.PackageNotFoundError:
        return []
    requirements = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        match = _EXTRA.search(marker)
        if match is None or match[2] != extra:
            continue
        marker = _EXTRA.sub("", marker).strip()
        if _holds(marker):
            requirements.append(requirement.strip())
    return requirements


def _holds(marker: str) -> bool:
    """Whether a marker holds here; where packaging is missing, it is taken to hold."""
    if not marker or importlib.util.find_spec("packaging") is None:
        return True
    from packaging.markers import Marker

    return Marker(marker).evaluate()
