"""Marked values get their names, whatever else they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from wav2edge.export.marks import DOMAIN, NAME
from wav2edge.export.passes.name_values import name_values


def marked(source: str, copy: str, name: str) -> Any:
    node = helper.make_node(NAME, [source], [copy], domain=DOMAIN)
    node.attribute.append(helper.make_attribute("name", name))
    return node


def test_marked_value_takes_its_name(build: Any, evaluate: Any) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        marked("a", "b", "features"),
        helper.make_node("Abs", ["b"], ["y"]),
    ]
    graph = build(nodes, {"x": [2]}, ["y"], {})
    assert name_values(graph) == 1
    assert [node.op_type for node in graph.nodes] == ["Neg", "Abs"]
    assert graph.producer["features"].op_type == "Neg"
    assert all(entry.domain != DOMAIN for entry in graph.model.opset_import)
    np.testing.assert_array_equal(evaluate(graph, x=np.array([1, -2], dtype=np.float32))[0], [1, 2])


def test_an_output_keeps_its_own_name(build: Any, evaluate: Any) -> None:
    """The lengths of a model without adapter are marked and are an output as well; both names must exist."""
    graph = build([helper.make_node("Neg", ["x"], ["a"]), marked("a", "y", "inner")], {"x": [1]}, ["y"], {})
    assert name_values(graph) == 1
    assert {"inner", "y"} <= set(graph.producer)
    np.testing.assert_array_equal(evaluate(graph, x=np.array([3], dtype=np.float32))[0], [-3])


def test_an_input_keeps_its_own_name(build: Any, evaluate: Any) -> None:
    graph = build([marked("x", "b", "inner"), helper.make_node("Neg", ["b"], ["y"])], {"x": [1]}, ["y"], {})
    assert name_values(graph) == 1
    assert graph.producer["inner"].op_type == "Identity"
    np.testing.assert_array_equal(evaluate(graph, x=np.array([3], dtype=np.float32))[0], [-3])
