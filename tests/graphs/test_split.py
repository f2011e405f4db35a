"""Cutting a graph at its named values, without torch, whatever the passes before did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from wav2edge.graphs.graph import Graph
from wav2edge.graphs.split import extract, split_stages
from wav2edge.graphs.storage import load_graph, save_model, shorten_names
from wav2edge.runtime.errors import BundleError


def value(name: str, shape: list[str | int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def contract_model() -> onnx.ModelProto:
    """Normalized = -input_values; features = normalized[..., None] @ w; logits = features @ v; lengths pass through."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Neg", ["input_values"], ["normalized"]),
        helper.make_node("Unsqueeze", ["normalized", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "w"], ["features"]),
        helper.make_node("Identity", ["input_lengths"], ["feature_lengths"]),
        helper.make_node("MatMul", ["features", "v"], ["logits"]),
        helper.make_node("Identity", ["feature_lengths"], ["output_lengths"]),
    ]
    weights = {
        "w": random.normal(size=(1, 400)).astype("f4"),
        "v": random.normal(size=(400, 5)).astype("f4"),
        "last": np.array([2]),
    }
    graph = helper.make_graph(
        nodes,
        "contract",
        [value("input_values", ["batch", "samples"]), value("input_lengths", ["batch"], TensorProto.INT64)],
        [value("logits", ["batch", "frames", 5]), value("output_lengths", ["batch"], TensorProto.INT64)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(path: Path, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))


def test_stages_share_the_data_file_and_compose(tmp_path: Path) -> None:
    save_model(contract_model(), tmp_path / "int8.onnx", "int8.data")
    files = split_stages(tmp_path, "int8.onnx", "int8")
    assert files == {"full": "int8.onnx", "frontend": "int8.frontend.onnx", "encoder": "int8.encoder.onnx"}
    assert {path.name for path in tmp_path.iterdir()} == {*files.values(), "int8.data"}
    assert all((tmp_path / file).stat().st_size < 2000 for file in files.values())
    waveform, lengths = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32), np.array([3, 2])
    whole = run(tmp_path / files["full"], input_values=waveform, input_lengths=lengths)
    middle = run(tmp_path / files["frontend"], normalized=-waveform, input_lengths=lengths)
    end = run(tmp_path / files["encoder"], **middle)
    np.testing.assert_array_equal(end["logits"], whole["logits"])
    np.testing.assert_array_equal(end["output_lengths"], lengths)


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_model(contract_model(), tmp_path / name / "m.onnx", "m.data")
    for file in ("m.onnx", "m.data"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_small_tensors_stay_in_the_graph(tmp_path: Path) -> None:
    save_model(contract_model(), tmp_path / "m.onnx", "m.data")
    stored = {t.name: t.data_location for t in load_graph(tmp_path / "m.onnx").graph.initializer}
    assert stored == {"w": TensorProto.EXTERNAL, "v": TensorProto.EXTERNAL, "last": TensorProto.DEFAULT}


def test_a_missing_name_is_an_error() -> None:
    model = contract_model()
    with pytest.raises(BundleError, match="no value 'hidden'"):
        extract(model, ["hidden"], ["logits"])
    with pytest.raises(BundleError, match="also needs 'input_lengths'"):
        extract(model, ["features"], ["logits", "output_lengths"])


def test_splitting_needs_no_torch() -> None:
    program = (
        "import sys, wav2edge.graphs.split as s; import onnx; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_weights_that_float16_holds_are_stored_in_half_the_bytes(tmp_path: Path) -> None:
    """A checkpoint saved in float16 loses nothing; a pass that reads the file sees plain float32 weights."""
    random = np.random.default_rng(0)
    exact = random.normal(size=(64, 128)).astype(np.float16).astype(np.float32)
    inexact = random.normal(size=(128, 64)).astype(np.float32)
    huge = np.full((64, 64), 1e6, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "exact"], ["a"]),
        helper.make_node("MatMul", ["a", "inexact"], ["b"]),
        helper.make_node("MatMul", ["b", "huge"], ["y"]),
    ]
    weights = {"exact": exact, "inexact": inexact, "huge": huge}
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "halves", [value("x", ["n", 64])], [value("y", ["n", 64])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = random.normal(size=(3, 64)).astype(np.float32)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    save_model(model, tmp_path / "m.onnx", "m.data", compact=True)
    assert (tmp_path / "m.data").stat().st_size == exact.nbytes // 2 + inexact.nbytes + huge.nbytes
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", x=x)["y"], expected)
    loaded = Graph.load(tmp_path / "m.onnx")
    assert [node.op_type for node in loaded.nodes] == ["MatMul"] * 3
    np.testing.assert_array_equal(loaded.weights["exact"], exact)


def test_short_names_keep_the_contract_and_the_numbers(tmp_path: Path) -> None:
    """A small model's INT8 graphs were a fifth of its bytes, names for the most part."""
    model = contract_model()
    save_model(contract_model(), tmp_path / "long.onnx", "long.data")
    shorten_names(model, ("normalized", "features", "feature_lengths"))
    save_model(model, tmp_path / "short.onnx", "short.data")
    contract = {"normalized", "features", "feature_lengths", "logits", "output_lengths"}
    written = {name for node in model.graph.node for name in node.output}
    assert contract < written and all(len(name) == 2 for name in written - contract)
    feeds = {"input_values": np.ones((1, 3), np.float32), "input_lengths": np.array([3])}
    for name, values in run(tmp_path / "long.onnx", **feeds).items():
        np.testing.assert_array_equal(run(tmp_path / "short.onnx", **feeds)[name], values)
    split_stages(tmp_path, "short.onnx", "short")
