"""The recipe's package, imported by its path under a name of its own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
PACKAGE = "wav2edge_recipes"


def package(name: str) -> ModuleType:
    """Import a folder of recipes as a package, without a change to the module search path."""
    full = f"{PACKAGE}_{name}"
    if full not in sys.modules:
        folder = RECIPES / name
        spec = importlib.util.spec_from_file_location(full, folder / "__init__.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def recipe() -> Callable[[str], ModuleType]:
    """Import a module of the embedded recipe: `recipe("speech.manifest")`."""
    name = package("embedded").__name__
    return lambda module: importlib.import_module(f"{name}.{module}")
