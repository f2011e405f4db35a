"""The kinds of input; a file here is a kind, with a class ``Inputs`` that is made once and called for each input."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from ..runner import Kind

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py")))
"""Every kind there is."""


def make(name: str, scratch: Path) -> Kind:
    """A kind, with the good inputs that its bad ones are made from; scratch: a folder for those."""
    return cast(Kind, importlib.import_module(f"{__package__}.{name}").Inputs(scratch))
