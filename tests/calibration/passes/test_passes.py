"""Each pass alone: what it keeps, what it changes, and by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.calibration.closeness import sqnr
from wav2edge.calibration.observe import float_session, observe, observe_channels, run_with_outputs
from wav2edge.calibration.passes.fuse_gelu import fuse_gelu
from wav2edge.calibration.passes.half import HalfPrecision, to_half
from wav2edge.calibration.passes.qdq import activation_parameters, insert_qdq, observed, quantize_weight
from wav2edge.calibration.passes.smooth import find_folds, fold_outliers
from wav2edge.calibration.passes.weights_only import pack_int4, quantize_dynamic, quantize_int4
from wav2edge.calibration.ranges import min_max
from wav2edge.calibration.schemes import S8S8, U7S8, U8S8, Scheme
from wav2edge.calibration.sites import Site, find_sites, match_sites, module_path
from wav2edge.graphs.graph import Graph
from wav2edge.runtime.errors import InputError

Logits = Callable[[Graph, np.ndarray], np.ndarray]
Ranges = dict[str, tuple[float, float]]


@pytest.fixture(scope="module")
def ranges(fp32_graph: Graph, speech: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Ranges:
    seen = observe(fp32_graph, observed(find_sites(fp32_graph)), speech, tmp_path_factory.mktemp("observe"))
    return {name: min_max(histogram, True) for name, histogram in seen.items()}


def operators(graph: Graph) -> Counter[str]:
    return Counter(node.op_type for node in graph.nodes)


def test_finds_every_convolution_and_matrix_product(fp32_graph: Graph) -> None:
    sites = find_sites(fp32_graph)
    counts = operators(fp32_graph)
    assert len(sites) == counts["Conv"] + counts["MatMul"]
    assert {site.kind for site in sites} == {"convolution", "linear", "attention"}
    assert len({site.path for site in sites}) == len(sites), "each site has a path of its own"


def test_module_paths_read_like_the_checkpoint() -> None:
    assert module_path("/feature_extractor/conv_layers.1/conv/Conv") == "feature_extractor.conv_layers.1"
    assert module_path("/encoder/layers.10/attention/MatMul") == "encoder.layers.10.attention.scores"
    assert module_path("/encoder/layers.10/attention/MatMul_1") == "encoder.layers.10.attention.values"
    assert module_path("/head/lm_head/MatMul") == "head.lm_head"


def test_patterns_match_modules_and_nothing_is_an_error(fp32_graph: Graph) -> None:
    sites = find_sites(fp32_graph)
    chosen = match_sites(sites, [r"feature_extractor.conv_layers.[1-3]"])
    assert {site.path for site in sites if site.node in chosen} == {
        f"feature_extractor.conv_layers.{index}" for index in (1, 2, 3)
    }
    assert len(match_sites(sites, ["encoder.layers.1"])) == 8, "layers.1 is not layers.10 and not layers.11"
    with pytest.raises(InputError, match="matches no layer"):
        match_sites(sites, ["encoder.layers.99"])
    with pytest.raises(InputError, match="invalid regular expression"):
        match_sites(sites, ["conv_layers.[1"])


def test_gelu_is_fused_without_a_change(fp32_graph: Graph, speech: list[np.ndarray], logits: Logits) -> None:
    graph = fp32_graph.copy()
    before = operators(graph)["Erf"]
    assert fuse_gelu(graph) == before > 0
    assert operators(graph)["Erf"] == 0 and operators(graph)["Gelu"] == before
    assert sqnr([logits(fp32_graph, speech[0])], [logits(graph, speech[0])]) > 80


@pytest.fixture
def constants() -> Graph:
    """Three products with a constant: of a log-mel front end, of each head (SEW-D's positions), of a linear layer."""
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.FLOAT
    names = ("/feature_extractor/log_mel/MatMul", "/encoder/layers.0/attention/MatMul", LINEAR + "/MatMul")
    weights = {"bands": (32, 64), "each": (1, 2, 64, 32), "one": (32, 6)}
    tensors = ["x", "y", "z", "w"]
    steps = zip(names, weights, tensors, tensors[1:])
    nodes = [helper.make_node("MatMul", [source, weight], [to], name) for name, weight, source, to in steps]
    return Graph(
        helper.make_model(
            helper.make_graph(
                nodes,
                "graph",
                [helper.make_tensor_value_info("x", kind, [1, 2, 3, 32])],
                [helper.make_tensor_value_info("w", kind, [1, 2, 3, 6])],
                [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
            )
        )
    )


LINEAR = "/encoder/layers.0/attention/out_proj"


def test_a_constant_for_each_head_is_no_site(constants: Graph) -> None:
    """SEW-D multiplies by its positions, of which ONNX Runtime refused a scale for each head."""
    assert [site.path for site in find_sites(constants)] == ["encoder.layers.0.attention.out_proj"]


@pytest.mark.parametrize(("quantize", "product"), [(quantize_dynamic, "MatMulInteger"), (quantize_int4, "MatMulNBits")])
def test_weights_alone_are_quantised_where_other_variants_are(
    constants: Graph, quantize: Callable[[Graph, tuple[str, ...]], None], product: str
) -> None:
    """A log-mel front end in INT8 lost most of its bands, and ONNX Runtime refused scales for each head."""
    quantize(constants, ())
    kinds = {node.name: node.op_type for node in constants.nodes if "MatMul" in node.op_type}
    assert list(kinds.values()) == ["MatMul", "MatMul", product]
    assert next(name for name, kind in kinds.items() if kind == product).startswith(LINEAR)


@pytest.mark.parametrize("scheme", [U8S8, S8S8, U7S8], ids=lambda scheme: str(scheme.name))
def test_integers_are_written_as_the_engines_want_them(
    fp32_graph: Graph, ranges: Ranges, speech: list[np.ndarray], logits: Logits, scheme: Scheme
) -> None:
    graph = fp32_graph.copy()
    insert_qdq(graph, find_sites(graph), ranges, scheme)
    stored = {name: values for name, values in graph.weights.items() if name.endswith("_quantized")}
    weights = {name: values for name, values in stored.items() if values.dtype == np.int8}
    sites = find_sites(fp32_graph)
    assert len(weights) == sum(site.weight is not None for site in sites)
    assert max(int(np.abs(values.astype(np.int16)).max()) for values in weights.values()) <= scheme.weight_limit
    # Weights are stored once: no QuantizeLinear reads one, and the float they came from is gone.
    assert not [node for node in graph.nodes if node.op_type == "QuantizeLinear" and node.input[0] in graph.weights]
    assert not [site.weight for site in sites if site.weight in graph.weights]
    zeros = [graph.weights[node.input[2]] for node in graph.nodes if node.op_type == "QuantizeLinear"]
    signed = [zero for zero in zeros if zero.dtype == np.int8]
    products = sum(site.kind == "attention" for site in sites)
    assert len(signed) == (len(zeros) if not scheme.unsigned else products if scheme.attention else 0)
    attention = [(tuple(graph.node(site.node).input), site.activations) for site in sites if site.kind == "attention"]
    assert scheme.attention or all(now == before for now, before in attention)
    assert {zero.dtype for zero in zeros} <= {np.dtype(np.uint8), np.dtype(np.int8)} and not any(map(np.any, signed))
    if not scheme.unsigned:
        assert not any(zero.any() for zero in zeros), "TensorRT takes symmetric INT8 alone"
        assert np.dtype(np.int32) not in {values.dtype for values in stored.values()}
    assert sqnr([logits(fp32_graph, speech[0])], [logits(graph, speech[0])]) > 5


@pytest.mark.parametrize("scheme", [U8S8, S8S8, U7S8], ids=lambda scheme: str(scheme.name))
@pytest.mark.parametrize("weights", [0.0, 1e-9])
def test_a_channel_with_hardly_any_weights_keeps_its_bias(
    fp32_graph: Graph, ranges: Ranges, speech: list[np.ndarray], tmp_path: Path, scheme: Scheme, weights: float
) -> None:
    """Pruned checkpoints have such channels: the bias in steps of their scale exceeded int32, and its sign was lost."""
    site = next(site for site in find_sites(fp32_graph) if site.bias is not None and site.kind == "convolution")
    graph = fp32_graph.copy()
    assert site.weight is not None and site.bias is not None
    graph.weights[site.weight] = graph.floats(site.weight).copy()
    graph.weights[site.bias] = graph.floats(site.bias).copy()
    graph.weights[site.weight][7], graph.weights[site.bias][7] = weights, 0.5
    graph.weights[site.weight][8], graph.weights[site.bias][8] = weights, -0.5
    quantized = graph.copy()
    insert_qdq(quantized, [site], {**ranges, site.output: (-4.0, 4.0)}, scheme)
    result = quantized.node(site.node).output[0]
    seen: list[np.ndarray] = []
    run_with_outputs(quantized, (result,), speech[:1], tmp_path, lambda outputs: seen.append(outputs[result]), 1)
    assert np.allclose(seen[0][0, 7], 0.5, atol=0.03) and np.allclose(seen[0][0, 8], -0.5, atol=0.03)


def test_onnxruntime_fuses_everything(fp32_graph: Graph, ranges: Ranges, tmp_path: Path) -> None:
    import onnx
    import onnxruntime as ort

    graph = fp32_graph.copy()
    fuse_gelu(graph)
    insert_qdq(graph, find_sites(graph), ranges, U8S8)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.add_session_config_entry("session.qdqisint8allowed", "1")  # as the engine does
    ort.InferenceSession(graph.to_model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    products = sum(site.kind != "convolution" for site in find_sites(fp32_graph))
    assert counts["MatMul"] == 0 and counts["Conv"] == 0
    assert counts["QLinearMatMul"] + counts["MatMulIntegerToFloat"] == products
    assert counts["QLinearConv"] == len(find_sites(fp32_graph)) - products


def test_switches_give_every_choice_of_layers(
    fp32_graph: Graph, ranges: Ranges, speech: list[np.ndarray], logits: Logits, tmp_path: Path
) -> None:
    sites = find_sites(fp32_graph)
    switched = fp32_graph.copy()
    layers = insert_qdq(switched, sites, ranges, U8S8, switched=True)
    session = float_session(switched, (), tmp_path, qdq=False)
    feeds = {"input_values": speech[0][None], "input_lengths": np.array([len(speech[0])], dtype=np.int64)}

    def run(chosen: set[str]) -> np.ndarray:
        flags = {f"quantize:{layer}": np.array(layer in chosen) for layer in layers}
        values: np.ndarray = session.run(["logits"], {**feeds, **flags})[0][0]
        return values

    reference = logits(fp32_graph, speech[0])
    assert sqnr([reference], [run(set())]) > 80
    one = next(layer for layer in layers if layer.startswith("encoder.layers.0"))
    alone = fp32_graph.copy()
    insert_qdq(alone, [site for site in sites if site.layer == one], ranges, U8S8)
    assert sqnr([logits(alone, speech[0])], [run({one})]) > 30, "the switch is the same quantisation"
    assert sqnr([reference], [run({one})]) > sqnr([reference], [run(set(layers))])


def test_folding_takes_planted_outliers_out_and_changes_nothing(
    fp32_graph: Graph, speech: list[np.ndarray], logits: Logits, tmp_path: Path
) -> None:
    graph = fp32_graph.copy()
    folds = find_folds(graph, find_sites(graph))
    assert {fold.kind for fold in folds} >= {"values", "scores"}
    tensors = [name for fold in folds for name in fold.tensors]
    before = observe_channels(graph, tensors, speech, tmp_path)
    assert fold_outliers(graph, folds, before) == len(folds)
    assert sqnr([logits(fp32_graph, speech[1])], [logits(graph, speech[1])]) > 70
    after = observe_channels(graph, tensors, speech, tmp_path)

    def spread(maxima: dict[str, np.ndarray], name: str) -> float:
        return float(maxima[name].max() / np.median(maxima[name]))

    scores = [fold.tensors[0] for fold in folds if fold.kind == "scores"]
    assert np.mean([spread(after, name) for name in scores]) < np.mean([spread(before, name) for name in scores])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_keeps_norms_and_softmax_in_float(fp32_graph: Graph, precision: HalfPrecision) -> None:
    graph = fp32_graph.copy()
    assert to_half(graph, precision) > 0
    half = {
        name for node in graph.nodes if node.op_type == "Cast" and node.name.endswith("_half") for name in node.output
    }
    safe = ("LayerNormalization", "Softmax", "ReduceSum", "ReduceMean", "Sqrt", "Where")
    for node in graph.nodes:
        if node.op_type in safe:
            assert not half.intersection(node.input), node.name
            assert all(graph.weights[n].dtype.itemsize > 2 for n in node.input if n in graph.weights), node.name
    large = [values for values in graph.weights.values() if values.size > 4096]
    assert all(values.dtype.itemsize == 2 for values in large)


def test_fp16_stays_finite_where_fp16_overflows(fp32_graph: Graph, speech: list[np.ndarray], logits: Logits) -> None:
    graph = fp32_graph.copy()
    to_half(graph, "fp16")
    noise = np.random.default_rng(0).uniform(-1, 1, 16000).astype(np.float32)
    for samples in (speech[0], noise, np.zeros(16000, np.float32)):
        assert sqnr([logits(fp32_graph, samples)], [logits(graph, samples)]) > 40


def test_dynamic_leaves_convolutions_alone(fp32_graph: Graph, speech: list[np.ndarray], logits: Logits) -> None:
    graph = fp32_graph.copy()
    kept = next(site for site in find_sites(graph) if site.kind == "linear")
    quantize_dynamic(graph, {kept.node})
    counts = operators(graph)
    linear = sum(site.kind == "linear" for site in find_sites(fp32_graph))
    assert counts["MatMulInteger"] == linear - 1 and counts["ConvInteger"] == 0
    assert counts["Conv"] == operators(fp32_graph)["Conv"]
    assert sqnr([logits(fp32_graph, speech[0])], [logits(graph, speech[0])]) > 15


def test_int4_packs_as_the_operator_unpacks(fp32_graph: Graph, speech: list[np.ndarray], logits: Logits) -> None:
    weight = np.random.default_rng(1).standard_normal((64, 3)).astype(np.float32)
    packed, scales = pack_int4(weight)
    levels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(3, 2, 32).astype(np.float32) - 8
    error = np.abs((levels * scales[..., None]).reshape(3, 64).T - weight)
    assert error.max() <= np.abs(scales).max() * 1.01
    graph = fp32_graph.copy()
    quantize_int4(graph, ())
    assert operators(graph)["MatMulNBits"] > 0
    assert sqnr([logits(fp32_graph, speech[0])], [logits(graph, speech[0])]) > 3


@pytest.mark.parametrize("inputs", [20, 33, 784])
def test_int4_takes_rows_that_fill_no_last_block(inputs: int) -> None:
    """Layers whose inner units were removed have such rows: they stayed in float, and nothing said so."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(2)
    weight = random.standard_normal((inputs, 6)).astype(np.float32)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 5, size]) for name, size in (("x", inputs), ("y", 6))
    ]
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["y"], LINEAR + "/MatMul")]
    opset = [helper.make_opsetid("", 17)]
    parts = helper.make_graph(nodes, "graph", ends[:1], ends[1:], [numpy_helper.from_array(weight, "weight")])
    graph = Graph(helper.make_model(parts, opset_imports=opset, ir_version=9))
    quantize_int4(graph, ())
    assert operators(graph) == {"MatMulNBits": 1}
    packed, scales = pack_int4(weight)
    levels = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.float32) - 8
    stored = (levels.reshape(6, -1, 32) * scales[..., None]).reshape(6, -1)[:, :inputs].T
    assert np.abs(stored - weight).max() <= np.abs(scales).max() * 1.01
    samples = random.standard_normal((2, 5, inputs)).astype(np.float32)
    session = ort.InferenceSession(graph.to_model().SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = samples @ stored
    assert np.abs(session.run(None, {"x": samples})[0] - wanted).max() <= 0.03 * np.abs(wanted).max()


def test_ranges_become_scales_that_hold_zero() -> None:
    scale, zero = activation_parameters((-0.17, 5.0), unsigned=True)
    assert zero == round(0.17 / float(scale)) and abs((255 - zero) * float(scale) - 5.0) < float(scale)
    assert activation_parameters((1.0, 5.0), unsigned=True)[1] == 0
    assert activation_parameters((-3.0, 5.0), unsigned=False) == (np.float32(5.0 / 127), 0)
    values, scales = quantize_weight(np.array([[1.0, -2.0], [0.0, 0.0]], np.float32), axis=0, limit=127)
    assert values.tolist() == [[64, -127], [0, 0]] and scales[0] == np.float32(2.0 / 127)


def test_a_site_belongs_to_a_layer() -> None:
    def layer(path: str) -> str:
        return Site("n", path, "linear", (), (), "o").layer

    assert layer("encoder.layers.3.attention.q_proj") == "encoder.layers.3.attention"
    assert layer("encoder.layers.3.feed_forward.output_dense") == "encoder.layers.3.feed_forward"
    assert layer("feature_extractor.conv_layers.2") == "feature_extractor.conv_layers.2"
    assert layer("head.lm_head") == "head.lm_head"
