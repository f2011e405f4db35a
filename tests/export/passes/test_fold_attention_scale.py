"""The scale of attention scores moves into the query projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from wav2edge.export.passes.fold_attention_scale import fold_attention_scale


def attention(build: Any, *, shared: bool = False) -> Any:
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q0"]),
        helper.make_node("Add", ["bq", "q0"], ["q"]),
        helper.make_node("Reshape", ["q", "heads"], ["q4"]),
        helper.make_node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
        helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("Reshape", ["k", "heads"], ["k4"]),
        helper.make_node("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["qt", "kt"], ["scores"]),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["y"], axis=-1),
    ]
    outputs = ["y"]
    if shared:
        nodes.append(helper.make_node("Neg", ["q"], ["z"]))
        outputs.append("z")
    random = np.random.default_rng(0)
    weights = {
        "wq": random.normal(size=(8, 8)).astype("f4"),
        "bq": random.normal(size=8).astype("f4"),
        "wk": random.normal(size=(8, 8)).astype("f4"),
        "heads": np.array([0, 0, 2, 4]),
        "scale": np.float32(0.5),
    }
    return build(nodes, {"x": [1, "frames", 8]}, outputs, weights)


def test_scale_moves_into_the_query_projection(build: Any, evaluate: Any) -> None:
    x = np.random.default_rng(1).normal(size=(1, 5, 8)).astype("f4")
    before = evaluate(attention(build), x=x)[0]
    graph = attention(build)
    weight = graph.weights["wq"].copy()
    assert fold_attention_scale(graph) == 1
    assert all(node.op_type != "Mul" for node in graph.nodes)
    np.testing.assert_array_equal(graph.weights["wq"], weight * 0.5)
    np.testing.assert_allclose(evaluate(graph, x=x)[0], before, atol=1e-6)


def test_queries_that_something_else_reads_are_left_alone(build: Any) -> None:
    graph = attention(build, shared=True)
    assert fold_attention_scale(graph) == 0
    assert any(node.op_type == "Mul" for node in graph.nodes)
