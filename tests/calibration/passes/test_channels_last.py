"""The convolutions as matrix products: the same numbers, at every length, for both norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest

from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.closeness import sqnr
from wav2edge.calibration.observe import observe
from wav2edge.calibration.passes.channels_last import channels_last
from wav2edge.calibration.passes.first_alone import first_alone
from wav2edge.calibration.passes.first_layer import _cosines
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.nodes import Node, make_node
from wav2edge.runtime.bundle.read import Bundle

TINY: dict[str, object] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
RandomBundle = Callable[..., Bundle]
Logits = Callable[[Graph, np.ndarray], np.ndarray]


def outputs(model: onnx.ModelProto, samples: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"input_values": samples, "input_lengths": np.array(lengths, dtype=np.int64)}
    wanted = {item.name for item in session.get_inputs()}
    found: list[np.ndarray] = session.run(
        ["logits", "output_lengths"], {name: values for name, values in feeds.items() if name in wanted}
    )
    return found


LONG_WINDOWS: dict[str, object] = {
    "conv_dim": (16,) * 4,
    "conv_kernel": (400, 1, 3, 3),
    "conv_stride": (160, 1, 1, 2),
    "num_feat_extract_layers": 4,
}
"""A first convolution whose windows reach over three strides, as in the embedded model."""


def tiny(random_bundle: RandomBundle, norm: str, **settings: object) -> tuple[Bundle, Graph]:
    bundle = random_bundle(norm, **{**TINY, **settings})
    return bundle, Graph.load(bundle.graph(bundle.variant("fp32"), "full"))


def dequantized(graph: Graph, node: Node) -> bool:
    """Whether a node's weight is stored as INT8."""
    source = graph.producer.get(node.input[1])
    return source is not None and source.op_type == "DequantizeLinear"


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_equals_the_convolutions_at_every_length(random_bundle: RandomBundle, norm: str) -> None:
    _, graph = tiny(random_bundle, norm)
    turned = graph.copy()
    # Some in one product, some in two: the float ones.
    in_float = {node.name for node in graph.nodes if "conv_layers.1/" in node.name or "conv_layers.5/" in node.name}
    assert channels_last(turned, in_float) == 7
    front = [node for node in turned.nodes if "feature_extractor" in node.name]
    assert not [node for node in front if node.op_type == "Conv"]
    moved = [node.name for node in front if node.op_type == "Transpose"]
    assert len(moved) == (norm == "group"), "only the windows of the group norm's outer products are turned"
    same_numbers(graph, turned, (400, 401, 719, 720, 20639, 20640, 31999))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_equals_convolutions_whose_windows_reach_over_three_strides(random_bundle: RandomBundle, norm: str) -> None:
    """The last frame read zeros in place of its last 80 samples, where the number of frames was odd."""
    _, graph = tiny(random_bundle, norm, **LONG_WINDOWS)
    turned = graph.copy()
    assert channels_last(turned) == 4
    same_numbers(graph, turned, (1200, 1360, 1439, 1440, 16000, 16079, 16080, 16160, 16239, 16240))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
@pytest.mark.parametrize("kernel", [10, 13])
def test_the_first_convolution_alone_equals_it_and_its_norm(
    random_bundle: RandomBundle, norm: str, kernel: int
) -> None:
    """13: windows that reach over three strides."""
    settings = {"conv_dim": (104, *(16,) * 6), "conv_kernel": (kernel, 3, 3, 3, 3, 2, 2)}
    _, graph = tiny(random_bundle, norm, **settings)
    turned = graph.copy()
    assert first_alone(turned)
    assert sum(node.op_type == "Conv" and "feature_extractor" in node.name for node in turned.nodes) == 6
    same_numbers(graph, turned, (403, 404, 719, 720, 20639, 20640, 31999))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_the_first_convolution_alone_is_left_where_windows_are_long(random_bundle: RandomBundle, norm: str) -> None:
    _, graph = tiny(random_bundle, norm, **LONG_WINDOWS)
    before = [node.name for node in graph.nodes]
    assert not first_alone(graph)
    assert [node.name for node in graph.nodes] == before


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_what_is_computed_before_the_first_convolution_stays(random_bundle: RandomBundle, norm: str) -> None:
    """An imported graph may normalise the samples itself; the product then reads what the convolution did."""
    _, graph = tiny(random_bundle, norm, conv_dim=(104, *(16,) * 6))
    convolution = next(node for node in graph.nodes if node.op_type == "Conv")
    channel = graph.producer[convolution.input[0]]
    graph.weights["half"] = np.array(0.5, dtype=np.float32)
    for name, operator in (("halved", "Mul"), ("shifted", "Add")):
        graph.nodes.append(make_node(operator, [channel.input[0], "half"], [name], name))
        channel.input[0] = name
    graph.refresh()
    graph.sort()
    alone, all_last = graph.copy(), graph.copy()
    assert first_alone(alone) and channels_last(all_last) == 7
    for turned in (alone, all_last):
        same_numbers(graph, turned, (720, 16000, 20639))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_unsigned_int8_with_it_has_stages_and_gives_a_clip_its_numbers_in_a_batch(
    random_bundle: RandomBundle, norm: str, speech: list[np.ndarray], tmp_path: Path
) -> None:
    bundle, graph = tiny(random_bundle, norm, conv_dim=(104, *(16,) * 6))
    sites = find_sites(graph)
    seen = observe(graph, observed(sites), speech, tmp_path)
    shop = VariantBuilder(bundle, graph, sites, seen, "min-max", tmp_path)
    assert [*shop.never_quantized("int8-u8s8")] == ["feature_extractor.conv_layers.0"]
    variant = shop.build("int8-u8s8", frozenset())
    assert {"statistics", "tile"} <= set(variant.graphs) if norm == "group" else "frontend" in variant.graphs
    model = onnx.load(tmp_path / variant.graphs["full"])
    for index, samples in enumerate((16000, 9001, 12345, 20000)):
        clip = np.roll(speech[0], 1000 * index)[:samples]
        batch = np.zeros((2, 48000), np.float32)
        batch[0, :samples], batch[1] = clip, np.resize(speech[1], 48000)
        (alone, frames), (together, _) = (
            outputs(model, *feeds) for feeds in ((clip[None], [samples]), (batch, [samples, 48000]))
        )
        assert (together[0, : frames[0]] == alone[0, : frames[0]]).all(), samples


def same_numbers(graph: Graph, turned: Graph, lengths: Iterable[int]) -> None:
    """The logits of two clips at each length, of which the second is shorter."""
    random = np.random.default_rng(0)
    for samples in lengths:
        clips = random.normal(0, 0.1, (2, samples)).astype(np.float32)
        short = min(samples, samples // 2 + 200)
        clips[1, short:] = 0
        before, after = (outputs(each.to_model(), clips, [samples, short]) for each in (graph, turned))
        assert after[1].tolist() == before[1].tolist()
        assert after[0].shape == before[0].shape
        for row, frames in enumerate(before[1]):
            kept, new = before[0][row, :frames], after[0][row, :frames]
            assert np.abs(new - kept).max(initial=0) <= 1e-5 * np.abs(before[0]).max(), (samples, row)


@pytest.mark.slow
def test_group_norm_of_speech_without_high_frequencies(random_bundle: RandomBundle) -> None:
    """A filter for high frequencies gets little from telephone speech; its variance must not vanish in rounding."""
    _, graph = tiny(random_bundle, "group")
    name = "feature_extractor.conv_layers.0.conv.weight"
    weight = graph.weights[name].copy()
    weight[3, 0] = 0.3 * _cosines(weight.shape[2])[:, -1]
    graph.weights[name] = weight
    turned = graph.copy()
    channels_last(turned)
    time = np.arange(16000) / 16000
    speech = sum(np.sin(2 * np.pi * pitch * time) for pitch in (110, 220, 440, 880)) / 8
    clip = (speech + np.random.default_rng(0).normal(0, 1e-4, 16000)).astype(np.float32)[None]
    before, after = (outputs(each.to_model(), clip, [16000])[0] for each in (graph, turned))
    assert np.abs(after - before).max() <= 1e-3 * np.abs(before).max()


def test_another_layout_is_left_alone(fp32_graph: Graph) -> None:
    graph = fp32_graph.copy()
    last = max(index for index, node in enumerate(graph.nodes) if "conv_layers.3" in node.name)
    from onnx import helper

    source = graph.nodes[last].output[0]
    graph.nodes.append(helper.make_node("Softmax", [source], ["strange"], "strange"))
    graph.model.graph.output.append(helper.make_empty_tensor_value_info("strange"))
    graph.refresh()
    before = graph.to_model().SerializeToString()
    assert channels_last(graph) == 0
    assert graph.to_model().SerializeToString() == before


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_int8_of_it_keeps_layers_stages_and_quality(
    random_bundle: RandomBundle, norm: str, speech: list[np.ndarray], tmp_path: Path
) -> None:
    """Group norm over quantised convolutions gave 3 dB in OpenVINO where ONNX Runtime gave 18: now they agree."""
    bundle, graph = tiny(random_bundle, norm)
    sites = find_sites(graph)
    seen = observe(graph, observed(sites), speech, tmp_path)
    shop = VariantBuilder(bundle, graph, sites, seen, "min-max", tmp_path)
    made = Graph.load(tmp_path / shop.build("int8-s8s8", frozenset()).graphs["full"])
    names = {node.name: node for node in made.nodes}
    for site in sites:
        if site.kind == "convolution" and "conv_layers.0" not in site.path:
            assert dequantized(made, names[site.node]), site.path
    assert (tmp_path / "int8-s8s8.frontend.onnx").exists()
    kept = {site.node for site in sites if "conv_layers.2" in site.path}
    some = Graph.load(tmp_path / shop.build("int8-s8s8", frozenset(kept), stages=False).graphs["full"])
    layer = [node for node in some.nodes if "conv_layers.2/" in node.name and node.op_type == "MatMul"]
    assert len(layer) == 2 and not [node for node in layer if dequantized(some, node)]


@pytest.mark.slow
def test_int8_of_a_model_without_a_norm_before_its_projection(
    random_bundle: RandomBundle, speech: list[np.ndarray], logits: Logits, tmp_path: Path
) -> None:
    """DistilHuBERT: its projection reads ``features``, of which only the transposed convolutions were observed."""
    bundle, graph = tiny(random_bundle, "group", family="Hubert", feat_proj_layer_norm=False)
    sites = find_sites(graph)
    seen = observe(graph, observed(sites), speech, tmp_path)
    assert "features" not in seen
    shop = VariantBuilder(bundle, graph, sites, seen, "min-max", tmp_path)
    made = Graph.load(tmp_path / shop.build("int8-s8s8", frozenset()).graphs["full"])
    (projection,) = (site for site in sites if site.path == "feature_projection.projection")
    assert dequantized(made, made.node(projection.node))
    assert sqnr([logits(graph, speech[0])], [logits(made, speech[0])]) > 15
