"""Removal of layers, heads and inner units: what stays computes what the whole did, as nearly as it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from wav2edge.calibration.closeness import sqnr
from wav2edge.calibration.compress import rank
from wav2edge.calibration.observe import run_with_outputs
from wav2edge.calibration.parts import Branch, Removal, find_branches, find_layers
from wav2edge.calibration.passes.remove_parts import Moments, Seen, fitted_rows, remove_parts
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.split import split_stages
from wav2edge.graphs.storage import save_model
from wav2edge.runtime.bundle.read import Bundle

CONFIG = Path(__file__).parents[3] / "recipes/embedded/checkpoint/config.json"
Logits = Callable[[Graph, np.ndarray], np.ndarray]


@pytest.fixture
def seen(fp32_graph: Graph, speech: list[np.ndarray], tmp_path: Path) -> dict[str, Seen]:
    """The moments of every part of the embedded model over two clips."""
    branches, layers = find_branches(fp32_graph), find_layers(fp32_graph)
    found = {branch.path: Seen(Moments()) for branch in branches} | {
        layer.path: Seen(Moments(), Moments()) for layer in layers
    }
    read = {branch.path: fp32_graph.node(branch.reader).input[0] for branch in branches}
    names = tuple({*read.values(), *(name for layer in layers for name in (layer.source, layer.output))})

    def add(outputs: object) -> None:
        assert isinstance(outputs, dict)
        for path, name in read.items():
            found[path].own.add(outputs[name][0], outputs[name][0])
        for layer in layers:
            target = found[layer.path].target
            assert target is not None
            found[layer.path].own.add(outputs[layer.source][0], outputs[layer.source][0])
            target.add(outputs[layer.source][0], outputs[layer.output][0])

    run_with_outputs(fp32_graph, names, speech, tmp_path, add, 1)
    return found


def test_finds_every_half_of_every_layer(fp32_graph: Graph) -> None:
    shape = json.loads(CONFIG.read_text("utf-8"))
    branches, layers = find_branches(fp32_graph), find_layers(fp32_graph)
    assert [layer.path for layer in layers] == [f"encoder.layers.{n}" for n in range(shape["num_hidden_layers"])]
    halves = (("heads", shape["num_attention_heads"]), ("inner units", shape["intermediate_size"]))
    kinds = [(branch.layer, branch.kind, branch.units) for branch in branches]
    assert kinds == [(layer.path, *each) for layer in layers for each in halves]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "settings"), [("Data2VecAudio", {}), ("Wav2Vec2", {"add_adapter": True})])
def test_only_the_layers_of_the_transformer_count(
    random_bundle: Callable[..., Bundle],
    family: str,
    settings: dict[str, object],
    speech: list[np.ndarray],
    logits: Logits,
    tmp_path: Path,
) -> None:
    """The layers of position convolutions and adapters were taken for some too, and have no linear layer in them."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    bundle = random_bundle("layer", family, conv_dim=(16,) * 7, num_conv_pos_embeddings=5, **sizes, **settings)
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    layers = find_layers(graph)
    assert [layer.path for layer in layers] == ["encoder.layers.0", "encoder.layers.1"]
    names = tuple(dict.fromkeys(name for layer in layers for name in (layer.source, layer.output)))
    shapes: list[tuple[int, ...]] = []
    run_with_outputs(graph, names, speech[:1], tmp_path, lambda found: shapes.extend(v.shape for v in found.values()))
    assert len(set(shapes)) == 1 and shapes[0][-1] == 32
    convolutions = sum(node.op_type == "Conv" for node in graph.nodes)
    remove_parts(graph, Removal(frozenset({"encoder.layers.0"})))
    assert sum(node.op_type == "Conv" for node in graph.nodes) == convolutions
    assert [branch.layer for branch in find_branches(graph)] == ["encoder.layers.1"] * 2
    assert np.isfinite(logits(graph, speech[0])).all()


TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SQUEEZED = {"squeeze_factor": 2, "conv_kernel": (10, 3, 1, 3, 1, 2, 2), "conv_stride": (5, 2, 1, 2, 2, 2, 2)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "settings", "halves"),
    [
        ("WavLM", {"num_buckets": 32, "max_bucket_distance": 80}, 2),
        ("Wav2Vec2Conformer", {"position_embeddings_type": "relative"}, 3),
        ("Wav2Vec2Conformer", {"position_embeddings_type": "rotary"}, 3),
        ("Wav2Vec2Conformer", {"position_embeddings_type": None}, 3),
        ("Wav2Vec2Bert", {}, 3),
        ("SEW", SQUEEZED, 2),
        ("SEWD", {**SQUEEZED, "max_position_embeddings": 64, "position_buckets": 16}, 2),
    ],
)
def test_every_family_has_parts_that_go_without_a_change_where_they_are_zero(
    random_bundle: Callable[..., Bundle],
    family: str,
    settings: dict[str, object],
    halves: int,
    speech: list[np.ndarray],
    logits: Logits,
) -> None:
    """WavLM, Conformer and SEW-D had no parts at all: their nodes were not named after the layers."""
    shape = {**TINY, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    bundle = random_bundle("layer", family, **shape, **settings)
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    names = [layer.path for layer in find_layers(graph)]
    assert [name.rpartition(".")[2] for name in names] == ["0", "1"], names
    branches = find_branches(graph)
    assert [branch.layer for branch in branches] == [name for name in names for _ in range(halves)]
    heads = [branch for branch in branches if branch.kind == "heads"]
    inner = [branch for branch in branches if branch.kind == "inner units"]
    assert [branch.units for branch in heads] == [4, 4] and {branch.units for branch in inner} == {48}
    gone = {branch.path: (2,) if branch in inner else (1, 2) for branch in branches}
    for branch in branches:
        for unit in gone[branch.path]:
            _silence(graph, branch, unit)
    whole = logits(graph, speech[0])
    remove_parts(graph, Removal(units=gone))
    np.testing.assert_allclose(logits(graph, speech[0]), whole, atol=1e-4 * float(np.abs(whole).max()))
    shorter = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    remove_parts(shorter, Removal(frozenset(names[:1]), {heads[1].path: (0,)}))
    assert np.isfinite(logits(shorter, speech[0])).all()
    assert not any(
        names[0].rpartition("encoder.")[2] in node.name and node.op_type == "Softmax" for node in shorter.nodes
    )


def test_a_unit_that_is_zero_goes_without_a_change(fp32_graph: Graph, speech: list[np.ndarray], logits: Logits) -> None:
    graph = fp32_graph.copy()
    heads, inner = find_branches(graph)[:2]
    _silence(graph, heads, 2)
    _silence(graph, inner, 7)
    whole = logits(graph, speech[0])
    parameters = graph.parameters
    remove_parts(graph, Removal(units={heads.path: (2,), inner.path: (7,)}))
    np.testing.assert_allclose(logits(graph, speech[0]), whole, atol=2e-4)
    width = 160
    assert parameters - graph.parameters == 4 * 40 * width + 3 * 40 + 2 * width + 1


def test_what_stays_takes_over_what_was_removed(
    fp32_graph: Graph, speech: list[np.ndarray], logits: Logits, seen: dict[str, Seen]
) -> None:
    branch = find_branches(fp32_graph)[3]
    removal = Removal(units={branch.path: rank(fp32_graph, branch, seen[branch.path].own)[0]})
    whole = logits(fp32_graph, speech[0])
    plain, fitted = fp32_graph.copy(), fp32_graph.copy()
    remove_parts(plain, removal)
    remove_parts(fitted, removal, seen)
    noise = [sqnr([whole], [logits(graph, speech[0])]) for graph in (plain, fitted)]
    assert noise[1] > noise[0] + 3, noise


def test_a_linear_layer_is_nearer_than_none(
    fp32_graph: Graph, speech: list[np.ndarray], logits: Logits, seen: dict[str, Seen]
) -> None:
    removal = Removal(frozenset({"encoder.layers.3"}))
    whole = logits(fp32_graph, speech[0])
    plain, fitted = fp32_graph.copy(), fp32_graph.copy()
    remove_parts(plain, removal)
    remove_parts(fitted, removal, seen)
    assert not any("layers.3/attention" in node.name for node in plain.nodes)
    noise = [sqnr([whole], [logits(graph, speech[0])]) for graph in (plain, fitted)]
    assert noise[1] > noise[0] + 1, noise


def test_the_stages_stay_consistent(
    fp32_graph: Graph, speech: list[np.ndarray], logits: Logits, tmp_path: Path
) -> None:
    """Frontend and encoder cut from a graph without some parts give what the full graph gives."""
    graph = fp32_graph.copy()
    heads = find_branches(graph)[4]
    remove_parts(graph, Removal(frozenset({"encoder.layers.6"}), {heads.path: (0, 3)}))
    expected = logits(graph, speech[0])
    save_model(graph.to_model(), tmp_path / "full.onnx", "full.data")
    files = split_stages(tmp_path, "full.onnx", "full")
    sessions = {
        stage: ort.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        for stage, name in files.items()
    }
    normalized = (speech[0] - speech[0].mean()) / np.sqrt(speech[0].var() + 1e-7)
    features, lengths = sessions["frontend"].run(
        ["features", "feature_lengths"],
        {"normalized": normalized[None].astype(np.float32), "input_lengths": np.array([len(normalized)])},
    )
    found = sessions["encoder"].run(["logits"], {"features": features, "feature_lengths": lengths})[0][0]
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_fitted_rows_are_the_least_squares(rng_rows: np.ndarray) -> None:
    """Against a regression on the rows themselves."""
    weight = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    moments = Moments()
    moments.add(rng_rows[:300], rng_rows[:300])
    moments.add(rng_rows[300:], rng_rows[300:])
    kept = np.array([0, 2, 5])
    fitted, shift = fitted_rows(moments, weight, kept)
    design = np.hstack([rng_rows[:, kept], np.ones((len(rng_rows), 1))])
    expected, *_ = np.linalg.lstsq(design, rng_rows @ weight, rcond=None)
    np.testing.assert_allclose(np.vstack([fitted, shift]), expected, atol=2e-3)


@pytest.fixture
def rng_rows() -> np.ndarray:
    """Correlated rows [1000, 6] with a mean."""
    draw = np.random.default_rng(0)
    return (draw.normal(size=(1000, 6)) @ draw.normal(size=(6, 6)) + 2).astype(np.float32)


def _silence(graph: Graph, branch: Branch, unit: int) -> None:
    """Set the rows that read a unit to zero."""
    name = graph.node(branch.reader).input[1]
    weight = graph.floats(name).copy()
    weight[unit * branch.size : (unit + 1) * branch.size] = 0
    graph.weights[name] = weight
