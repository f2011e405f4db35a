"""The look-ups of a graph stay true while passes change it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wav2edge.graphs.graph import Graph
from wav2edge.graphs.nodes import attribute, integer, integers, make_node, rename_inputs, rename_outputs, scalar


@pytest.fixture
def graph() -> Graph:
    """``x`` doubled, read twice by one Add, once by a Neg and once for its shape; the sums are the output."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["doubled"], "double"),
        helper.make_node("Add", ["doubled", "doubled"], ["fourfold"], "add"),
        helper.make_node("Neg", ["doubled"], ["negative"], "negate"),
        helper.make_node("Shape", ["doubled"], ["shape"], "shape_of"),
        helper.make_node("Add", ["fourfold", "negative"], ["y"], "sum"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(np.array([2.0], np.float32), "two")]
    model = helper.make_model(helper.make_graph(nodes, "small", values[:1], values[1:], weights))
    assert isinstance(model, onnx.ModelProto)
    return Graph(model)


def true_lookups(graph: Graph) -> bool:
    """Whether the look-ups are those that a fresh reading of the nodes gives."""

    def names() -> dict[str, set[str]]:
        return {tensor: {node.name for node in nodes} for tensor, nodes in graph.consumers.items() if nodes}

    kept = names()
    graph.refresh()
    return kept == names()


def test_replace_uses_reaches_every_position_and_keeps_the_lookups(graph: Graph) -> None:
    graph.replace_uses("doubled", "x")
    assert [list(node.input) for node in graph.nodes if node.name != "double"] == [
        ["x", "x"],
        ["x"],
        ["x"],
        ["fourfold", "negative"],
    ]
    assert graph.readers("doubled") == [] and {node.name for node in graph.readers("x")} == {"double", "add", "negate"}
    assert true_lookups(graph)


def test_replace_uses_of_some_readers_leaves_the_others(graph: Graph) -> None:
    graph.replace_uses("doubled", "x", graph.readers("doubled"))
    assert [node.name for node in graph.consumers["doubled"]] == ["shape_of"]
    assert true_lookups(graph)
    graph.replace_uses("nothing reads this", "x")
    assert true_lookups(graph)


def test_rename_moves_writer_and_readers(graph: Graph) -> None:
    graph.rename("doubled", "twice")
    assert graph.producer["twice"].name == "double" and "doubled" not in graph.producer
    assert len(graph.readers("twice")) == 3 and true_lookups(graph)


def test_bypass_drops_a_node(graph: Graph) -> None:
    graph.bypass(graph.node("negate"), "doubled")
    assert list(graph.node("sum").input) == ["fourfold", "doubled"]
    assert [node.name for node in graph.nodes] == ["double", "add", "shape_of", "sum"] and true_lookups(graph)


def test_a_copy_changes_alone_until_the_original_becomes_it(graph: Graph) -> None:
    twin = graph.copy()
    twin.rename("doubled", "twice")
    assert "doubled" in graph.producer
    graph.become(twin)
    assert "twice" in graph.producer and true_lookups(graph)


def test_weight_names_are_free(graph: Graph) -> None:
    assert graph.free_weight_name("three") == "three" and graph.free_weight_name("two") == "two2"


def test_attributes_by_name() -> None:
    node = make_node("Transpose", ["a"], ["b"], "turn", perm=[1, 0])
    assert integers(node, "perm") == [1, 0] and integers(node, "axes") is None
    cast = make_node("Cast", ["b"], ["c"], "cast", to=TensorProto.FLOAT16)
    assert integer(cast, "to") == TensorProto.FLOAT16 and integer(cast, "from") is None
    assert attribute(cast, "from") is None
    rename_inputs([node, cast], {"b": "B"})
    rename_outputs([node], {"b": "B"})
    assert (list(node.output), list(cast.input)) == (["B"], ["B"])
    assert (
        scalar(np.array([2.0], np.float32)) == 2.0
        and scalar(np.array([2], np.int64)) is None
        and scalar(np.array([1, 2], np.float32)) is None
    )
