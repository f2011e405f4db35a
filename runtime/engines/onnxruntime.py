"""ONNX Runtime on the CPU, the engine of the extra [cpu].

Variants with unsigned activations (u8s8) run best here: its CPU kernels fuse them, and they do not fuse s8s8.
Another execution provider of the installed ONNX Runtime is chosen by name with ``EngineOptions.device``
(``CoreML``, ``XNNPACK``, ``ACL`` …); one that would fall back to the CPU is an error.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from .. import remedies
from ..bundle.read import Bundle, Variant
from ..bundle.spec import FEATURE_LENGTHS, FEATURES, ModelSpec, Stage
from ..errors import DeviceError, EngineError, first_line
from . import Arrays, Build, EngineOptions, Purpose, Session, _ort
from ._library import library, not_installed
from ._one_clip import stacked
from ._ort import OnnxRuntimeSession

PURPOSE: Purpose = "inference"
LIBRARY: str | None = "onnxruntime"
SHARED = True
KEEPS_LENGTHS = False
READS = frozenset({"threads", "device", "profiling", "keep_memory", "spin", "keep_graph"})
build: Build | None = None


PROVIDER = _ort.CPU
_SUFFIX = "ExecutionProvider"
_OWNERS = {"gpu": "openvino", "npu": "openvino", "auto": "openvino", "cuda": "onnxruntime-cuda and of tensorrt"}
"""The engines whose devices have names that begin so."""


def unavailable() -> str | None:
    """Why ONNX Runtime cannot run here; None when it can."""
    reason = not_installed("onnxruntime", "cpu")
    if reason is None and not all(importlib.util.find_spec(name) for name in ("google", "google.protobuf")):
        return f"protobuf is not installed; install it with `{remedies.install('cpu')}`"
    return reason


def refuses(spec: ModelSpec, variant: Variant) -> str | None:
    """ONNX Runtime's CPU has no kernels for bfloat16."""
    if variant.bfloat16:
        return "its CPU kernels have no bfloat16; use fp32 or an int8 variant"
    return None


def load(bundle: Bundle, variant: Variant, stage: Stage, options: EngineOptions) -> Session:
    """Load a stage on the CPU, or on the provider that ``options.device`` names; raises EngineError.

    The encoder on the CPU is rewritten to run faster, without its mask as ``Unpadded``, unless ``options.keep_graph``
    says otherwise.
    """
    provider = _provider(options.device)
    graph, unmasked = None, False
    if provider == PROVIDER and stage == "encoder" and not options.keep_graph:
        path = bundle.graph(variant, stage)
        graph, unmasked = _rewritten(path, in_float32=variant.precision in ("fp32", "int8", "int4"))
    loaded = _ort.open_session(bundle, variant, stage, options, [(provider, {})], graph)
    session = OnnxRuntimeSession(loaded, stage, options.keep_memory or provider != PROVIDER)
    return Unpadded(session) if unmasked else session


def _rewritten(path: Path, in_float32: bool) -> tuple[bytes | None, bool]:
    """The file of an encoder as it runs fastest, None as it is; and whether it is for batches without a padded clip.

    in_float32: whether the encoder's floats are FP32, which ONNX Runtime's own operators need. Raises EngineError where
    the file is not in ONNX's format.
    """
    # Imported here: this module is also loaded where protobuf is not installed, to say what is missing.
    from ._onnx_attention import computes_blocks, join_attention
    from ._onnx_file import OnnxFile
    from ._onnx_linear import join_bias
    from ._onnx_mask import leave_out_mask

    try:
        graph = OnnxFile(path.read_bytes())
    except ValueError as error:
        raise EngineError(f"onnxruntime cannot load {path.name}: {first_line(error)}") from error
    if graph.nested:
        return None, False
    unmasked = leave_out_mask(graph) > 0
    if unmasked and in_float32 and computes_blocks():
        join_attention(graph)
    joined = join_bias(graph) if in_float32 else 0
    if not unmasked and not joined:
        return None, False
    graph.drop_unread()
    return graph.to_bytes(), unmasked


class Unpadded:
    """An encoder without its mask: a batch with padded clips is run clip by clip, each cut to its own frames.

    So a clip has the same numbers alone and in a batch of clips of other lengths.
    """

    def __init__(self, session: OnnxRuntimeSession) -> None:
        """Wrap a session without the mask."""
        self.session = session
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds: Arrays) -> Arrays:
        """As ``Session.run``; time axes are padded with zeros to the longest clip's."""
        missing = [name for name in (FEATURES, FEATURE_LENGTHS) if name not in feeds]
        if missing:
            raise EngineError(f"the encoder is given no {missing[0]}")
        features, lengths = feeds[FEATURES], feeds[FEATURE_LENGTHS]
        if not np.any(lengths < features.shape[1]):
            return self.session.run(feeds)
        clips = [
            self.session.run({FEATURES: clip[None, : max(int(length), 1)], FEATURE_LENGTHS: length[None]})
            for clip, length in zip(features, lengths)
        ]
        return stacked(clips)

    def close(self) -> None:
        """Release the session; it cannot run afterwards."""
        self.session.close()


def _provider(device: str | None) -> str:
    """The execution provider of a device's name; raises DeviceError."""
    if device is None:
        return PROVIDER
    ort = library("onnxruntime")

    have = {name.removesuffix(_SUFFIX).lower(): name for name in ort.get_available_providers()}
    try:
        return str(have[device.removesuffix(_SUFFIX).lower()])
    except KeyError:
        owners = next((names for start, names in _OWNERS.items() if device.lower().startswith(start)), None)
        raise DeviceError(
            f"onnxruntime has no provider {device!r} here; it has {', '.join(sorted(have.values()))}"
            + (f". It is a device of {owners}: name the engine too" if owners else "")
        ) from None
