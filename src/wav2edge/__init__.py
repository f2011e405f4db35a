"""wav2edge: run a trained checkpoint of the Wav2Vec 2.0 family on a device, verified at every step.

From Python::

    import wav2edge
    with wav2edge.Transcriber("my-bundle") as transcribe:
        print(transcribe("talk.flac").text)
    for event in wav2edge.listen("my-bundle"):
        print(event)

Importing this package imports nothing heavy: the names below are loaded on first use.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as a type checker sees it, it is true; importing ``typing`` took a third of the time
__version__ = "0.1.0"

if os.path.isfile(os.path.join(os.path.dirname(__file__), "runtime")):
    # On Windows git writes symbolic links as files, unless core.symlinks is set.
    raise ImportError(
        "this checkout of wav2edge has no symbolic links: `git config core.symlinks true && git checkout -- src` (on "
        "Windows with developer mode on), or install wav2edge from a wheel"
    )

if TYPE_CHECKING:
    from .api import bench as bench
    from .api import evaluate as evaluate
    from .api import export as export
    from .api import open as open
    from .api import quantize as quantize
    from .api import selftest as selftest
    from .runners import Classifier as Classifier
    from .runners import Embedder as Embedder
    from .runners import FrameClassifier as FrameClassifier
    from .runners import LiveClassifier as LiveClassifier
    from .runners import LiveTranscriber as LiveTranscriber
    from .runners import Regressor as Regressor
    from .runners import Transcriber as Transcriber
    from .runners import listen as listen
    from .runners import live as live
    from .runtime import errors as errors
    from .runtime.bundle.read import Bundle as Bundle
    from .runtime.bundle.read import Variant as Variant
    from .runtime.bundle.spec import ModelSpec as ModelSpec
    from .runtime.engines import EngineOptions as EngineOptions
    from .runtime.live import events as events
    from .runtime.live.labels import LabelSettings as LabelSettings
    from .runtime.live.settings import LiveSettings as LiveSettings
    from .runtime.model import Model as Model
    from .runtime.recordings.chunking import Chunking as Chunking
    from .runtime.recordings.segmentation import Segmentation as Segmentation
    from .runtime.text.language_model import BeamDecoder as BeamDecoder
    from .runtime.text.transcript import Segment as Segment
    from .runtime.text.transcript import Transcript as Transcript
    from .runtime.text.transcript import Word as Word

_HOMES = {
    "BeamDecoder": "wav2edge.runtime.text.language_model",
    "Bundle": "wav2edge.runtime.bundle.read",
    "Chunking": "wav2edge.runtime.recordings.chunking",
    "EngineOptions": "wav2edge.runtime.engines",
    "Classifier": "wav2edge.runners",
    "Embedder": "wav2edge.runners",
    "FrameClassifier": "wav2edge.runners",
    "Regressor": "wav2edge.runners",
    "LabelSettings": "wav2edge.runtime.live.labels",
    "LiveClassifier": "wav2edge.runners",
    "LiveSettings": "wav2edge.runtime.live.settings",
    "LiveTranscriber": "wav2edge.runners",
    "Model": "wav2edge.runtime.model",
    "ModelSpec": "wav2edge.runtime.bundle.spec",
    "Segment": "wav2edge.runtime.text.transcript",
    "Segmentation": "wav2edge.runtime.recordings.segmentation",
    "Transcriber": "wav2edge.runners",
    "Transcript": "wav2edge.runtime.text.transcript",
    "Variant": "wav2edge.runtime.bundle.read",
    "Word": "wav2edge.runtime.text.transcript",
    "bench": "wav2edge.api",
    "errors": "wav2edge.runtime",
    "evaluate": "wav2edge.api",
    "events": "wav2edge.runtime.live",
    "export": "wav2edge",
    "listen": "wav2edge.runners",
    "live": "wav2edge.runners",
    "open": "wav2edge.api",
    "quantize": "wav2edge.api",
    "selftest": "wav2edge.api",
}
"""Where each public name is defined. ``export`` is the package of that name, which can be called; ``live`` is the old
name of ``listen``."""

__all__ = [
    "BeamDecoder",
    "Bundle",
    "Chunking",
    "Classifier",
    "Embedder",
    "EngineOptions",
    "FrameClassifier",
    "LabelSettings",
    "LiveClassifier",
    "LiveSettings",
    "LiveTranscriber",
    "Model",
    "ModelSpec",
    "Regressor",
    "Segment",
    "Segmentation",
    "Transcriber",
    "Transcript",
    "Variant",
    "Word",
    "__version__",
    "bench",
    "errors",
    "evaluate",
    "events",
    "export",
    "listen",
    "open",
    "quantize",
    "selftest",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wav2edge' has no attribute {name!r}")
    from importlib import import_module

    home = _HOMES[name]
    if name in ("errors", "events", "export"):  # modules
        return import_module(f"{home}.{name}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
