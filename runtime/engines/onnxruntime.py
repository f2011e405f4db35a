"""ONNX Runtime on the CPU, the engine of the extra [cpu].

Variants with unsigned activations (u8s8) run best here: its CPU kernels fuse them, and they do not fuse s8s8.
Another execution provider of the installed ONNX Runtime is chosen by name with ``EngineOptions.device``
(``CoreML``, ``XNNPACK``, ``ACL`` …); one that would fall back to the CPU is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from ..bundle.read import Bundle, Variant
from ..bundle.spec import FEATURE_LENGTHS, FEATURES, ModelSpec, Stage
from ..errors import EngineError
from . import Arrays, Build, EngineOptions, Purpose, Session, _ort
from ._library import library
from ._ort import OnnxRuntimeSession

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "onnxruntime"
SHARED = True
KEEPS_LENGTHS = False
READS = frozenset({"threads", "device", "profiling", "keep_memory", "spin"})
build: Build | None = None


PROVIDER = _ort.CPU
_SUFFIX = "ExecutionProvider"


def unavailable() -> str | None:
    """Why ONNX Runtime cannot run here; None when it can."""
    return _ort.not_installed("cpu")


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """ONNX Runtime's CPU has no kernels for bfloat16."""
    if variant.bfloat16:
        return "its CPU kernels have no bfloat16; use fp32 or an int8 variant"
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> Session:
    """Load a stage on the CPU, or on the provider that ``options.device`` names; raises EngineError."""
    provider = _provider(options.device)
    keep_memory = options.keep_memory or provider != PROVIDER

    def session(graph: bytes | None = None) -> OnnxRuntimeSession:
        return OnnxRuntimeSession(
            _ort.open_session(bundle, variant, stage, options, [(provider, {})], graph), stage, keep_memory
        )

    if provider == PROVIDER and stage == "encoder":
        unpadded = _for_unpadded(bundle.graph(variant, stage).read_bytes())
        if unpadded is not None:
            return MaskOnDemand(session(unpadded), session)
    return session()


def _for_unpadded(model: bytes) -> bytes | None:
    """An encoder's file for batches in which no clip is padded; None where it has no mask that could be left out."""
    # Imported here, because an engine is asked for what it needs before that is installed, as protobuf is.
    from ._onnx_attention import join_attention
    from ._onnx_file import OnnxFile
    from ._onnx_mask import leave_out_mask

    graph = OnnxFile(model)
    if not leave_out_mask(graph):
        return None
    join_attention(graph)
    graph.drop_unread()
    return graph.to_bytes()


class MaskOnDemand:
    """An encoder without its mask (``_onnx_mask``) until a clip of a batch is padded; with it from then on."""

    def __init__(self, session: OnnxRuntimeSession, load_masked: Callable[[], OnnxRuntimeSession]) -> None:
        """Wrap a session without the mask; load_masked: loads the one that takes its place."""
        self.session = session
        self.masks = False
        self.inputs, self.outputs = session.inputs, session.outputs
        self._load_masked = load_masked
        self._changing = threading.Lock()

    def run(self, feeds: Arrays) -> Arrays:
        """Run once; any number of threads may. Raises EngineError, also where the graph with the mask cannot load."""
        padded = bool(np.any(feeds[FEATURE_LENGTHS] < feeds[FEATURES].shape[1]))
        return (self._masked() if padded else self.session).run(feeds)

    def _masked(self) -> OnnxRuntimeSession:
        with self._changing:
            if not self.masks and self.session.raw is not None:
                self.session, self.masks = self._load_masked(), True
            return self.session

    def close(self) -> None:
        """Release the session; it cannot run afterwards."""
        with self._changing:
            self.session.close()


def _provider(device: str | None) -> str:
    if device is None:
        return PROVIDER
    ort = library("onnxruntime")

    have = {name.removesuffix(_SUFFIX).lower(): name for name in ort.get_available_providers()}
    try:
        return str(have[device.removesuffix(_SUFFIX).lower()])
    except KeyError:
        raise EngineError(
            f"onnxruntime has no provider {device!r} here; it has {', '.join(sorted(have.values()))}"
        ) from None
