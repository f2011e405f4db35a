"""A convolution that is summed in float gives a short clip the same numbers alone and with padding after it."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper

from wav2edge.calibration.passes.least_positions import LEAST, least_positions
from wav2edge.graphs.graph import Graph

CHANNELS, TAPS = 160, 128


def positional(taps: int = TAPS, quantized: str = "input") -> Graph:
    """A grouped convolution over time whose input, and with ``both`` its result, is quantised."""
    numbers, half = np.random.default_rng(0), taps // 2
    source, result = helper.make_tensor_value_info, "sums" if quantized == "both" else "out"
    nodes = [
        helper.make_node("QuantizeLinear", ["in", "scale", "zero"], ["steps"], "quantize"),
        helper.make_node("DequantizeLinear", ["steps", "scale", "zero"], ["floats"], "dequantize"),
        helper.make_node(
            "Conv",
            ["floats", "weight"],
            [result],
            "conv",
            group=4,
            kernel_shape=[taps],
            pads=[half, half - 1],
        ),
    ]
    if quantized == "both":
        nodes += [
            helper.make_node("QuantizeLinear", ["sums", "scale", "zero"], ["out_steps"], "quantize_out"),
            helper.make_node("DequantizeLinear", ["out_steps", "scale", "zero"], ["out"], "dequantize_out"),
        ]
    shape: list[int | str | None] = [1, CHANNELS, "frames"]
    made = helper.make_graph(
        nodes, "g", [source("in", TensorProto.FLOAT, shape)], [source("out", TensorProto.FLOAT, shape)]
    )
    graph = Graph(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    graph.weights["weight"] = numbers.normal(size=(CHANNELS, CHANNELS // 4, taps)).astype(np.float32)
    graph.weights["scale"], graph.weights["zero"] = np.float32(0.03), np.int8(0)
    return graph


def run(graph: Graph, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    model = graph.to_model()
    checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"in": frames})[0])


@pytest.mark.parametrize("frames", [1, 9, LEAST - 1, LEAST, LEAST + 1, 200])
def test_frames_are_the_same_alone_and_with_zeros_after_them(frames: int) -> None:
    graph = positional()
    before = graph.copy()
    assert least_positions(graph) == 1
    alone = np.random.default_rng(1).normal(size=(1, CHANNELS, frames)).astype(np.float32)
    padded = np.pad(alone, ((0, 0), (0, 0), (0, 500)))
    found = run(graph, alone)
    np.testing.assert_array_equal(found, run(graph, padded)[..., :frames])
    np.testing.assert_allclose(found, run(before, alone), rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["summed in integers", "few taps"])
def test_others_stay_as_they_are(case: str) -> None:
    graph = positional(quantized="both") if case == "summed in integers" else positional(taps=4)
    count = len(graph.nodes)
    assert least_positions(graph) == 0 and len(graph.nodes) == count


def test_convolutions_in_a_row_all_get_them() -> None:
    """data2vec has five: after the first, the others' nodes were copies, and only the first was changed."""
    graph = positional()
    first = graph.node("conv")
    second = helper.make_node(
        "Conv", ["between", "weight"], ["out"], "conv2", group=4, kernel_shape=[TAPS], pads=[TAPS // 2, TAPS // 2 - 1]
    )
    first.output[0] = "between"
    graph.replace_nodes([*graph.nodes, second])
    assert least_positions(graph) == 2
    assert sum(node.op_type == "Pad" for node in graph.nodes) == 2
    alone = np.random.default_rng(1).normal(size=(1, CHANNELS, 9)).astype(np.float32)
    assert run(graph, alone).shape == alone.shape
