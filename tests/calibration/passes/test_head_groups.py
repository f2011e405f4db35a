"""Attention in groups of heads: the same logits, and no group larger than asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.calibration.passes.head_groups import group_heads
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.nodes import make_node
from wav2edge.graphs.storage import save_model
from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle

HEADS = 4
"""Of the embedded model."""


def embedded_graph(variant: str) -> Graph:
    bundle = Bundle.open(embedded.bundle_path())
    return Graph.load(bundle.graph(bundle.variant(variant), "full"))


def logits(graph: Graph, folder: Path) -> NDArray[np.float64]:
    """Of noise and a shorter clip in one batch, so that the mask counts."""
    import onnxruntime

    folder.mkdir()
    save_model(graph.to_model(), folder / "graph.onnx", "graph.data")
    session = onnxruntime.InferenceSession(str(folder / "graph.onnx"), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).normal(0, 0.1, (2, 24000)).astype(np.float32)
    feeds = engines.as_feeds(batch, np.array([24000, 9000]))
    return np.asarray(session.run(["logits"], dict(feeds))[0], np.float64)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("variant", ["fp32", "int8-u8s8"])
def test_the_logits_are_those_of_all_heads_at_once(variant: str, most: int, tmp_path: Path) -> None:
    graph = embedded_graph(variant)
    layers = sum(node.op_type == "Softmax" for node in graph.nodes)
    expected = logits(graph, tmp_path / "whole")
    assert group_heads(graph, most) == layers > 4
    groups = -(-HEADS // most)
    assert sum(node.op_type == "Softmax" for node in graph.nodes) == layers * groups
    assert sum(node.op_type == "Concat" and node.name.endswith("/Concat") for node in graph.nodes) >= layers
    found = logits(graph, tmp_path / "grouped")
    # In INT8 a sum in another order can be rounded to the other side; a wrong head would change most labels.
    assert np.abs(found - expected).max() < (1e-3 if variant == "fp32" else 0.2) * expected.std()
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.995


def test_few_heads_stay_together() -> None:
    graph = embedded_graph("fp32")
    assert group_heads(graph, HEADS) == 0


def test_a_bias_that_may_differ_between_heads_is_left_alone() -> None:
    """WavLM's relative positions are a bias for each head, which the groups would have to share out."""
    graph = embedded_graph("fp32")
    mask = next(node for node in graph.nodes if node.op_type == "Softmax")
    add = graph.producer[mask.input[0]]
    bias = next(name for name in add.input if graph.producer[name].op_type == "Unsqueeze")
    graph.replace_nodes([*graph.nodes, make_node("Identity", [bias], ["by_head"], "by_head")])
    graph.replace_uses(bias, "by_head", [node for node in graph.readers(bias) if node.op_type != "Identity"])
    graph.sort()
    assert group_heads(graph, 1) == 0
