"""Import an engine's library with its telemetry off.

OpenVINO's Python package sends an event to an analytics host when it is imported, through the package
``openvino_telemetry``, and writes an identifier into the home directory; without that package it does neither.
ONNX Runtime 1.32 writes a device identifier and a queue of events; ORT_DISABLE_TELEMETRY=1 before its import stops it
(disable_telemetry_events() after the import does not).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType

_TELEMETRY = "openvino_telemetry"


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
