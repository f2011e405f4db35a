"""Shapes that are computed at run time become constants."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from wav2edge.export.passes.static_reshapes import static_reshapes


def dimension(source: str, axis: str, name: str) -> list[Any]:
    return [
        helper.make_node("Shape", [source], [f"{name}_shape"]),
        helper.make_node("Gather", [f"{name}_shape", axis], [f"{name}_size"], axis=0),
        helper.make_node("Unsqueeze", [f"{name}_size", "zero"], [name]),
    ]


CONSTANTS = {
    "zero": np.array([0]),
    "axis0": np.array(0),
    "axis1": np.array(1),
    "two": np.array([2]),
    "four": np.array([4]),
    "w": np.eye(8, dtype="f4"),
}


def test_heads_are_split_without_shape_arithmetic(build: Any, evaluate: Any) -> None:
    """The dimensions are read from the layer's input, the projection of it is reshaped."""
    nodes = [
        *dimension("x", "axis0", "batch"),
        *dimension("x", "axis1", "frames"),
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("Concat", ["batch", "frames", "two", "four"], ["target"], axis=0),
        helper.make_node("Reshape", ["q", "target"], ["y"]),
    ]
    graph = build(nodes, {"x": ["b", "t", 8]}, ["y"], CONSTANTS)
    assert static_reshapes(graph) == 1
    graph.drop_unused()
    assert [node.op_type for node in graph.nodes] == ["MatMul", "Reshape"]
    assert graph.weights[graph.nodes[1].input[1]].tolist() == [0, 0, 2, 4]
    assert evaluate(graph, x=np.zeros((3, 5, 8), "f4"))[0].shape == (3, 5, 2, 4)


def test_one_unknown_dimension_is_inferred(build: Any, evaluate: Any) -> None:
    nodes = [
        *dimension("other", "axis1", "frames"),
        helper.make_node("Concat", ["frames", "two", "four"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    graph = build(nodes, {"x": ["n", 8], "other": ["b", "t"]}, ["y"], CONSTANTS)
    assert static_reshapes(graph) == 1
    assert graph.weights[graph.nodes[-1].input[1]].tolist() == [-1, 2, 4]


def test_two_unknown_dimensions_stay(build: Any) -> None:
    nodes = [
        *dimension("other", "axis0", "batch"),
        *dimension("other", "axis1", "frames"),
        helper.make_node("Concat", ["batch", "frames", "four"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    graph = build(nodes, {"x": ["n", 8], "other": ["b", "t"]}, ["y"], CONSTANTS)
    assert static_reshapes(graph) == 0
