"""Attention in groups of heads: the same logits, and no group larger than asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.calibration.observe import observe
from wav2edge.calibration.passes.fuse_gelu import fuse_gelu
from wav2edge.calibration.passes.head_groups import group_heads
from wav2edge.calibration.passes.qdq import insert_qdq, observed
from wav2edge.calibration.passes.weights_only import quantize_dynamic
from wav2edge.calibration.ranges import min_max
from wav2edge.calibration.schemes import U8S8
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.nodes import make_node
from wav2edge.graphs.storage import save_model
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle

HEADS = 4
"""Of the embedded model."""


@pytest.fixture(scope="module")
def int8_graph(fp32_graph: Graph, speech: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The embedded model in INT8 with its heads together, which the variants of a bundle have in groups."""
    seen = observe(fp32_graph, observed(find_sites(fp32_graph)), speech, tmp_path_factory.mktemp("observe"))
    graph = fp32_graph.copy()
    fuse_gelu(graph)
    insert_qdq(graph, find_sites(graph), {name: min_max(histogram, True) for name, histogram in seen.items()}, U8S8)
    return graph


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
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_logits_are_those_of_all_heads_at_once(
    fp32_graph: Graph, int8_graph: Graph, precision: str, most: int, tmp_path: Path
) -> None:
    graph = (fp32_graph if precision == "fp32" else int8_graph).copy()
    layers = sum(node.op_type == "Softmax" for node in graph.nodes)
    expected = logits(graph, tmp_path / "whole")
    assert group_heads(graph, most) == layers > 4
    groups = -(-HEADS // most)
    assert sum(node.op_type == "Softmax" for node in graph.nodes) == layers * groups
    assert sum(node.op_type == "Concat" and node.name.endswith("/Concat") for node in graph.nodes) >= layers
    found = logits(graph, tmp_path / "grouped")
    # In INT8 a sum in another order can be rounded to the other side; a wrong head would change most labels.
    assert np.abs(found - expected).max() < (1e-3 if precision == "fp32" else 0.2) * expected.std()
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.995


def test_heads_are_grouped_before_linear_layers_become_dynamic(fp32_graph: Graph, tmp_path: Path) -> None:
    """The products around the heads are not found in between: no variant of int8-dynamic had groups."""
    whole, grouped = fp32_graph.copy(), fp32_graph.copy()
    assert group_heads(grouped, 2) > 4
    for graph in (whole, grouped):
        quantize_dynamic(graph, ())
    found, expected = logits(grouped, tmp_path / "grouped"), logits(whole, tmp_path / "whole")
    assert np.abs(found - expected).max() < 0.2 * expected.std()


def test_few_heads_stay_together(fp32_graph: Graph) -> None:
    assert group_heads(fp32_graph.copy(), HEADS) == group_heads(fp32_graph.copy()) == 0


@pytest.mark.parametrize("heads, groups", [(4, 0), (6, 3), (12, 6)])
def test_many_heads_become_pairs(random_bundle: Callable[..., Bundle], heads: int, groups: int) -> None:
    """Four stay together: pairs of them take no less time."""
    bundle = random_bundle("layer", hidden_size=8 * heads, num_hidden_layers=1, num_attention_heads=heads)
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    assert group_heads(graph) == (1 if groups else 0)
    assert sum(node.op_type == "Softmax" for node in graph.nodes) == max(1, groups)


def test_a_bias_that_may_differ_between_heads_is_left_alone(fp32_graph: Graph) -> None:
    """WavLM's relative positions are a bias for each head, which the groups would have to share out."""
    graph = fp32_graph.copy()
    mask = next(node for node in graph.nodes if node.op_type == "Softmax")
    add = graph.producer[mask.input[0]]
    bias = next(name for name in add.input if graph.producer[name].op_type == "Unsqueeze")
    graph.replace_nodes([*graph.nodes, make_node("Identity", [bias], ["by_head"], "by_head")])
    graph.replace_uses(bias, "by_head", [node for node in graph.readers(bias) if node.op_type != "Identity"])
    graph.sort()
    assert group_heads(graph, 1) == 0
