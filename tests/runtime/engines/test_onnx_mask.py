"""An encoder without its mask gives the numbers of the one with it, and is run where no clip is padded alone."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.runtime.engines.conftest import rewritten

from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions, Session
from wav2edge.runtime.engines._onnx_mask import leave_out_mask
from wav2edge.runtime.engines._ort import OnnxRuntimeSession
from wav2edge.runtime.engines.onnxruntime import Unpadded, _rewritten
from wav2edge.runtime.errors import EngineError

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LAYERS = 12


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model).graph.node)


without_mask = functools.partial(rewritten, rewrite=leave_out_mask)


def feeds(frames: int, *own: int) -> dict[str, NDArray[Any]]:
    """Features of the embedded model, of so many frames for each clip."""
    features = np.random.default_rng(frames).standard_normal((len(own), frames, 320)).astype(np.float32)
    return {"features": features, "feature_lengths": np.array(own, np.int64)}


@pytest.fixture(params=[("fp32", 5e-5), ("int8-u8s8", 0.0)], ids=lambda param: str(param[0]))
def sessions(request: pytest.FixtureRequest) -> tuple[Session, Session, float]:
    """The embedded encoder without its mask and with it, and how far apart their outputs may be.

    In float attention is one operator, whose sums have another order.
    """
    name, tolerance = request.param
    bundle = Bundle.open(embedded.bundle_path())
    without, masked = (
        engines.load(bundle, bundle.variant(name), "onnxruntime", "encoder", EngineOptions(threads=1, keep_graph=keep))
        for keep in (False, True)
    )
    return without, masked, tolerance


@pytest.mark.parametrize("name", ["fp32", "int8-u8s8"])
def test_every_layer_of_the_embedded_encoder_adds_no_mask(name: str) -> None:
    bundle = Bundle.open(embedded.bundle_path())
    model = bundle.graph(bundle.variant(name), "encoder").read_bytes()
    unmasked, count = without_mask(model)
    assert count == LAYERS
    assert operators(model) - operators(unmasked) == Counter({"Add": LAYERS, "Unsqueeze": 2, "Where": 1})
    assert not operators(unmasked) - operators(model)


@pytest.mark.parametrize("own", [(60,), (60, 60, 60), (77, 77)], ids=str)
def test_outputs_are_those_of_the_encoder_with_its_mask(
    sessions: tuple[Session, Session, float], own: tuple[int, ...]
) -> None:
    without, masked, tolerance = sessions
    ours, theirs = without.run(feeds(max(own), *own)), masked.run(feeds(max(own), *own))
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        np.testing.assert_allclose(np.float32(ours[name]), np.float32(expected), rtol=0, atol=tolerance)


def test_padded_clips_have_the_numbers_that_they_have_alone(sessions: tuple[Session, Session, float]) -> None:
    """What is behind a clip is not read: NaN there changes nothing."""
    without, masked, _ = sessions
    batch = feeds(60, 60, 41, 35)
    lengths = batch["feature_lengths"]
    for row, length in zip(batch["features"], lengths):
        row[length:] = np.nan
    ours, theirs = without.run(batch), masked.run({**batch, "features": np.nan_to_num(batch["features"])})
    assert ours["output_lengths"].tolist() == theirs["output_lengths"].tolist() == [60, 41, 35]
    assert ours["logits"].shape == theirs["logits"].shape
    for row, clip, length in zip(ours["logits"], batch["features"], lengths):
        alone = without.run({"features": clip[None, :length], "feature_lengths": length[None]})
        np.testing.assert_array_equal(row[:length], alone["logits"][0])
        assert not row[length:].any()


def test_another_stage_and_another_provider_keep_what_is_in_their_file() -> None:
    bundle = Bundle.open(embedded.bundle_path())
    variant = bundle.variant("fp32")
    assert isinstance(engines.load(bundle, variant, "onnxruntime", "encoder"), Unpadded)
    stages: tuple[Literal["full", "frontend"], ...] = ("full", "frontend")
    for stage in stages:
        assert isinstance(engines.load(bundle, variant, "onnxruntime", stage), OnnxRuntimeSession)


@pytest.mark.parametrize("missing", ["features", "feature_lengths"])
def test_a_missing_input_is_named(sessions: tuple[Session, Session, float], missing: str) -> None:
    given = feeds(50, 50)
    del given[missing]
    with pytest.raises(EngineError, match=f"the encoder is given no {missing}"):
        sessions[0].run(given)


@pytest.mark.parametrize("own", [(50,), (40,)])
def test_a_closed_session_does_not_run(sessions: tuple[Session, Session, float], own: tuple[int, ...]) -> None:
    sessions[0].close()
    with pytest.raises(EngineError, match="closed"):
        sessions[0].run(feeds(50, *own))


def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fp32.encoder.onnx"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(EngineError, match=r"cannot load fp32\.encoder\.onnx: it is not an ONNX file"):
        _rewritten(path, in_float32=True)


def encoder(
    constants: Mapping[str, Any] = {},
    inside: str = "inside",
    lengths: str = "feature_lengths",
    swapped: bool = False,
    read_again: bool = False,
    counted: str = "frames",
    inner: bool = False,
) -> bytes:
    """Scores [batch, frames, frames] of features, masked and through a softmax; with one thing changed."""
    values = {"zero": np.float32(0), "low": np.float32(-1e9), "first": np.int64(0), "step": np.int64(1), **constants}
    nodes = [
        helper.make_node("MatMul", ["features", "across"], ["scores"]),
        helper.make_node("Shape", ["features"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["frames"]),
        helper.make_node("Add", ["frames", "one"], ["more"]),
        helper.make_node("Range", ["first", counted, "step"], ["numbers"]),
        helper.make_node("Unsqueeze", ["numbers", "front"], ["frame"]),
        helper.make_node("Unsqueeze", [lengths, "back"], ["ends"]),
        helper.make_node("Less", ["frame", "ends"], ["inside"]),
        helper.make_node("And", ["inside", "near"], ["both"]),
        helper.make_node("Where", [inside, "zero", "low"], ["hidden"]),
        helper.make_node("Unsqueeze", ["hidden", "back"], ["mask"]),
        helper.make_node("Add", ["mask", "scores"] if swapped else ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["probabilities"]),
        helper.make_node("Mul", ["probabilities", "masked" if read_again else "low"], ["logits"]),
    ]
    if inner:
        then = helper.make_graph([helper.make_node("Identity", ["mask"], ["hidden.again"])], "then", [], [])
        nodes.append(helper.make_node("If", ["yes"], [], then_branch=then, else_branch=then))
    tensors = {**values, "yes": np.bool_(True), "one": np.int64(1), "front": np.array([0]), "back": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("features", FLOAT, ["batch", "frames", 4]),
            helper.make_tensor_value_info("across", FLOAT, [4, "frames"]),
            helper.make_tensor_value_info("feature_lengths", INT64, ["batch"]),
            helper.make_tensor_value_info("other_lengths", INT64, ["batch"]),
            helper.make_tensor_value_info("near", TensorProto.BOOL, ["batch", "frames"]),
        ],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", "frames", "frames"])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


@pytest.mark.parametrize("swapped", [False, True])
def test_an_addition_of_the_mask_is_left_out_with_what_it_alone_reads(swapped: bool) -> None:
    model, count = without_mask(encoder(swapped=swapped))
    assert count == 1
    graph = onnx.load_from_string(model).graph
    assert [node.op_type for node in graph.node] == ["MatMul", "Softmax", "Mul"]
    assert graph.node[1].input == ["scores"]
    onnx.checker.check_model(onnx.load_from_string(model))


@pytest.mark.parametrize(
    "changed",
    [
        {"inside": "both"},  # local attention hides by distance as well
        {"lengths": "other_lengths"},
        {"read_again": True},
        {"constants": {"zero": np.float32(0.5)}},
        {"constants": {"first": np.int64(1)}},
        {"constants": {"step": np.int64(2)}},
        {"constants": {"low": np.array([[-1.0, -2.0]], np.float32)}},
        {"counted": "more"},  # keys that are no frames of the features
    ],
    ids=str,
)
def test_what_hides_anything_else_stays(changed: dict[str, Any]) -> None:
    assert without_mask(encoder(**changed))[1] == 0


def test_a_file_with_graphs_inside_of_nodes_stays(tmp_path: Path) -> None:
    """They may read any tensor of the outer graph."""
    path = tmp_path / "fp32.encoder.onnx"
    path.write_bytes(encoder(inner=True))
    assert _rewritten(path, in_float32=True) == (None, False)
    path.write_bytes(encoder())
    assert _rewritten(path, in_float32=True)[1]
