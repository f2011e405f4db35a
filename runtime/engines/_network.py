"""Run a small separate network, such as the speech detector's, with the installed CPU library, on one thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .. import remedies
from ..errors import EngineError
from ._library import library, works
from ._running import running

Network = Callable[[dict[str, NDArray[np.generic]]], list[NDArray[np.float32]]]
"""From inputs by name (those that it does not have are left out) to the float32 outputs in the graph's order."""


def open_network(content: bytes) -> Callable[[], Network]:
    """Load an ONNX network from its file's bytes; returns a function that makes a runner, one for each stream.

    Raises EngineError where neither onnxruntime nor openvino is installed and can be imported.
    """
    if works("onnxruntime"):
        return _with_onnxruntime(content)
    if works("openvino"):
        return _with_openvino(content)
    raise EngineError(f"this needs onnxruntime or openvino; install one with `{remedies.install('cpu')}`")


def _with_onnxruntime(content: bytes) -> Callable[[], Network]:
    ort = library("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = {item.name for item in session.get_inputs()}

    def run(feeds: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        with running:
            return list(session.run(None, {name: value for name, value in feeds.items() if name in names}))

    return lambda: run


def _with_openvino(content: bytes) -> Callable[[], Network]:
    openvino = library("openvino")
    model = openvino.Core().read_model(model=content, weights=b"")
    # By itself it computes in BF16 where the processor can.
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    names = {name for port in compiled.inputs for name in port.names}

    def make() -> Network:
        request = compiled.create_infer_request()

        def run(feeds: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
            with running:
                outputs = request.infer({name: value for name, value in feeds.items() if name in names})
                return [np.array(outputs[index]) for index in range(len(compiled.outputs))]

        return run

    return make
