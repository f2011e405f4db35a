"""Weights carry the paths that a user of the checkpoint knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from wav2edge.export.passes.name_weights import name_weights


def test_weights_are_named_after_their_module(build: Any) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["a"], "/encoder/layers.0/attention/q_proj/MatMul"),
        helper.make_node("Add", ["head.bias", "a"], ["y"], "/encoder/layers.0/attention/q_proj/Add"),
    ]
    graph = build(
        nodes, {"x": [1, 2]}, ["y"], {"onnx::MatMul_7": np.eye(2, dtype="f4"), "head.bias": np.zeros(2, "f4")}
    )
    assert name_weights(graph) == 2
    assert nodes_inputs(graph) == [
        ["x", "encoder.layers.0.attention.q_proj.weight"],
        ["encoder.layers.0.attention.q_proj.bias", "a"],
    ]


def nodes_inputs(graph: Any) -> list[list[str]]:
    return [list(node.input) for node in graph.nodes]


def test_shared_weights_become_one_each(build: Any) -> None:
    """The exporter stores equal tensors once; a pass that scales one module's bias must not scale another's."""
    nodes = [
        helper.make_node("Add", ["x", "shared"], ["a"], "/one/Add"),
        helper.make_node("Add", ["a", "shared"], ["y"], "/two/Add"),
    ]
    graph = build(nodes, {"x": [2]}, ["y"], {"shared": np.zeros(2, "f4")})
    name_weights(graph)
    assert nodes_inputs(graph) == [["x", "one.bias"], ["a", "two.bias"]]


def test_scalars_keep_their_names(build: Any) -> None:
    graph = build([helper.make_node("Add", ["x", "one"], ["y"], "/act/Add")], {"x": [2]}, ["y"], {"one": np.float32(1)})
    assert name_weights(graph) == 0
