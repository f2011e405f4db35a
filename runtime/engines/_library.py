"""Import an engine's library with its telemetry off.

OpenVINO's Python package sends an event to an analytics host when it is imported, through the package
``openvino_telemetry``, and writes an identifier into the home directory; without that package it does neither.
ONNX Runtime 1.32 writes a device identifier and a queue of events; ORT_DISABLE_TELEMETRY=1 before its import stops it
(disable_telemetry_events() after the import does not).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import import_module
from types import ModuleType

from .. import remedies

_TELEMETRY = "openvino_telemetry"


def installed(name: str) -> bool:
    """Whether a module is there to be imported.

    A folder that a package left when it was removed is not: Python imports it as a module without any content. The
    packages onnxruntime and onnxruntime-gpu own one module, so that removing either leaves such a folder.
    """
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def not_installed(name: str, extra: str) -> str | None:
    """The reason and the pip line where a module of an extra is missing; None when it is there."""
    if installed(name):
        return None
    if importlib.util.find_spec(name) is None:
        return f"{name} is not installed; install it with `{remedies.install(extra)}`"
    again = f"{remedies.install(extra)} --force-reinstall"  # pip may still list the package
    return f"of {name} only a folder without its module is left; install it again with `{again}`"


def works(name: str) -> bool:
    """Whether a module is there and its import succeeds."""
    try:
        return installed(name) and library(name) is not None
    except Exception:  # a broken installation may raise anything
        return False


def library(name: str) -> ModuleType:
    """The module of that name, imported with its telemetry off; raises what the import raises."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    hidden = name.partition(".")[0] == "openvino" and _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # its import raises ImportError, which openvino expects
    try:
        return import_module(name)
    finally:
        if hidden:
            del sys.modules[_TELEMETRY]
