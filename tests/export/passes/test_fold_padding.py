"""A cut after a convolution becomes padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from wav2edge.export.passes.fold_padding import fold_padding


def convolution(build: Any, end: int) -> Any:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[2, 2], kernel_shape=[4]),
        helper.make_node("Slice", ["a", "start", "end", "axes", "steps"], ["b"]),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    weights = {
        "w": np.random.default_rng(0).normal(size=(3, 3, 4)).astype("f4"),
        "start": np.array([0]),
        "end": np.array([end]),
        "axes": np.array([2]),
        "steps": np.array([1]),
    }
    return build(nodes, {"x": [1, 3, "frames"]}, ["y"], weights)


def test_cut_becomes_padding(build: Any, evaluate: Any) -> None:
    x = np.random.default_rng(1).normal(size=(1, 3, 9)).astype("f4")
    before = evaluate(convolution(build, -1), x=x)[0]
    graph = convolution(build, -1)
    assert fold_padding(graph) == 1
    assert [node.op_type for node in graph.nodes] == ["Conv", "Neg"]
    after = evaluate(graph, x=x)[0]
    assert after.shape == before.shape == (1, 3, 9)
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("end", [-2, 5])
def test_other_cuts_stay(build: Any, end: int) -> None:
    assert fold_padding(convolution(build, end)) == 0
