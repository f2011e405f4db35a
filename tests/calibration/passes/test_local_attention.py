"""Local attention: the logits of full attention under a mask of three blocks, and those of full attention in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav2edge.calibration.passes.local_attention import block_of, localize
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.nodes import make_node
from wav2edge.graphs.storage import save_model
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError

SAMPLES, SHORTER = 80_000, 61_000


def logits(graph: Graph, folder: Path, samples: int = SAMPLES, shorter: int = SHORTER) -> NDArray[np.float64]:
    """Of noise and a shorter clip in one batch, so that the mask counts."""
    import onnxruntime

    folder.mkdir()
    save_model(graph.to_model(), folder / "graph.onnx", "graph.data")
    session = onnxruntime.InferenceSession(str(folder / "graph.onnx"), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
    outputs = session.run(["logits", "output_lengths"], dict(engines.as_feeds(batch, np.array([samples, shorter]))))
    return np.concatenate([row[: int(length)] for row, length in zip(*outputs)]).astype(np.float64)


def masked(graph: Graph, frames: int, block: int) -> Graph:
    """Full attention with a bias that leaves each frame its own block and the two beside it."""
    numbers = np.arange(frames) // block
    far = np.abs(numbers[:, None] - numbers[None]) > 1
    graph.weights["band"] = np.where(far, -30000.0, 0.0).astype(np.float32)[None, None]
    bands = []
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        scores = softmax.input[0]
        bands.append(make_node("Add", [scores, "band"], [f"{scores}/band"], f"{scores}/band"))
        graph.replace_uses(scores, f"{scores}/band", [softmax])
    graph.replace_nodes([*graph.nodes, *bands])
    graph.sort()
    return graph


@pytest.mark.parametrize("block", [16, 50, 64, 83])
def test_equals_full_attention_under_a_mask_of_three_blocks(fp32_graph: Graph, block: int, tmp_path: Path) -> None:
    """Whether or not the last block is whole, and for the shorter clip of a batch."""
    local = fp32_graph.copy()
    assert localize(local, block) == sum(node.op_type == "Softmax" for node in fp32_graph.nodes)
    frames = (SAMPLES - 1040) // 320 + 1  # of the embedded model, whose receptive field is 65 ms
    expected = logits(masked(fp32_graph.copy(), frames, block), tmp_path / "masked")
    found = logits(local, tmp_path / "local")
    full = logits(fp32_graph.copy(), tmp_path / "full")
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max() < np.abs(full - expected).max()


def test_a_clip_of_one_block_has_the_logits_of_full_attention(fp32_graph: Graph, tmp_path: Path) -> None:
    local = fp32_graph.copy()
    localize(local, 100)
    found = logits(local, tmp_path / "local", 24000, 9000)
    expected = logits(fp32_graph.copy(), tmp_path / "full", 24000, 9000)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_same_products_are_quantised(fp32_graph: Graph) -> None:
    local = fp32_graph.copy()
    localize(local, 50)
    before, after = find_sites(fp32_graph), find_sites(local)
    assert sorted(site.path for site in after) == sorted(site.path for site in before)
    anchors = {site.path: site.anchors for site in before if site.kind == "attention"}
    assert {site.path: site.anchors for site in after if site.kind == "attention"} == anchors


def test_the_shortest_blocks_are_said_in_seconds(fp32_bundle: Bundle) -> None:
    """The message asked for seconds and gave frames."""
    assert block_of(fp32_bundle.spec, 0.32) == 16
    with pytest.raises(InputError, match=r"local_attention 0\.1: give at least 0\.32 s, 16 frames of this model"):
        block_of(fp32_bundle.spec, 0.1)


def test_what_cannot_be_made_local_is_refused(fp32_graph: Graph) -> None:
    biased = fp32_graph.copy()
    softmax = next(node for node in biased.nodes if node.op_type == "Softmax")
    mask = next(name for name in biased.producer[softmax.input[0]].input if "Unsqueeze" in name)
    moved = make_node("Identity", [mask], ["relative"], "relative")
    biased.replace_uses(mask, "relative", [biased.producer[softmax.input[0]]])
    biased.replace_nodes([*biased.nodes, moved])
    biased.sort()
    with pytest.raises(InputError, match="relative positions"):
        localize(biased, 50)
