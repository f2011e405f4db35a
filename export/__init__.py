"""Checkpoint in, verified ONNX bundle out. The only folder that imports torch or transformers.

The package can be called: ``wav2edge.export("my-checkpoint", "my-bundle")`` is the function ``wav2edge.api.export``.
Python binds an imported submodule to its parent's attribute, so a function of this name in ``wav2edge`` would be
replaced by the package at its first import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import cast


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: object, **named: object) -> object:
        from wav2edge.api import export

        return cast("Callable[..., object]", export)(*arguments, **named)


sys.modules[__name__].__class__ = _CallablePackage
