"""Small graphs to try passes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wav2edge.graphs.graph import Graph

Arrays = Mapping[str, NDArray[Any]]


@pytest.fixture
def build() -> Callable[..., Graph]:
    """``build(nodes, inputs={name: shape}, outputs=[name], weights={name: values})``: a graph at opset 17."""

    def make(nodes: Sequence[Any], inputs: Mapping[str, Any], outputs: Sequence[str], weights: Arrays) -> Graph:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
        graph = helper.make_graph(list(nodes), "test", values, results, tensors)
        domains = [helper.make_opsetid("", 17), helper.make_opsetid("wav2edge", 1)]
        return Graph(helper.make_model(graph, opset_imports=domains, ir_version=9))

    return make


@pytest.fixture
def evaluate() -> Callable[..., list[NDArray[Any]]]:
    """Run a graph in ONNX Runtime with its optimisations off."""

    def run(graph: Graph, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(graph.to_model().SerializeToString(), options, ["CPUExecutionProvider"])
        result: list[NDArray[Any]] = session.run(None, feeds)
        return result

    return run
