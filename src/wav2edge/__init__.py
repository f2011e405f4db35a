"""wav2edge: a trained Wav2Vec 2.0 family checkpoint, proven and fast on a device.

From Python::

    import wav2edge
    with wav2edge.Transcriber("my-bundle") as transcribe:
        print(transcribe("talk.flac").text)
    for event in wav2edge.live("my-bundle"): ...

Importing this package imports nothing heavy: the names below are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import Transcriber as Transcriber
    from .api import open as open
    from .runtime.bundle.read import Bundle as Bundle
    from .runtime.bundle.spec import ModelSpec as ModelSpec
    from .runtime.live.api import live as live
    from .runtime.model import Model as Model
    from .runtime.text.transcript import Transcript as Transcript

_HOMES = {
    "Bundle": "wav2edge.runtime.bundle.read",
    "ModelSpec": "wav2edge.runtime.bundle.spec",
    "Model": "wav2edge.runtime.model",
    "Transcriber": "wav2edge.api",
    "open": "wav2edge.api",
    "Transcript": "wav2edge.runtime.text.transcript",
    "live": "wav2edge.runtime.live.api",
}

__all__ = ["Bundle", "Model", "ModelSpec", "Transcriber", "Transcript", "__version__", "live", "open"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'wav2edge' has no attribute {name!r}")
