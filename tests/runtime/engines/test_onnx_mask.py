"""An encoder without its mask gives the numbers of the one with it wherever no clip is padded, and only there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from wav2edge.runtime import engines
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions, _ort
from wav2edge.runtime.engines._onnx_mask import without_mask
from wav2edge.runtime.engines.onnxruntime import MaskOnDemand
from wav2edge.runtime.errors import EngineError

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LAYERS = 12


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model).graph.node)


def feeds(frames: int, *own: int) -> dict[str, NDArray[Any]]:
    """Features of the embedded model, of so many frames for each clip."""
    features = np.random.default_rng(frames).standard_normal((len(own), frames, 320)).astype(np.float32)
    return {"features": features, "feature_lengths": np.array(own, np.int64)}


@pytest.fixture(params=["fp32", "int8-u8s8"])
def sessions(request: pytest.FixtureRequest) -> tuple[MaskOnDemand, _ort.OnnxRuntimeSession]:
    """The embedded encoder as it is loaded, and with its mask."""
    bundle = Bundle.open(embedded.bundle_path())
    variant, options = bundle.variant(request.param), EngineOptions(threads=1)
    loaded = engines.load(bundle, variant, "onnxruntime", "encoder", options)
    assert isinstance(loaded, MaskOnDemand)
    masked = _ort.open_session(bundle, variant, "encoder", options, [(_ort.CPU, {})])
    return loaded, _ort.OnnxRuntimeSession(masked, "encoder")


@pytest.mark.parametrize("name", ["fp32", "int8-u8s8"])
def test_every_layer_of_the_embedded_encoder_adds_no_mask(name: str) -> None:
    bundle = Bundle.open(embedded.bundle_path())
    model = bundle.graph(bundle.variant(name), "encoder").read_bytes()
    unmasked = without_mask(model)
    assert unmasked is not None
    assert operators(model) - operators(unmasked) == Counter({"Add": LAYERS, "Unsqueeze": 2, "Where": 1})
    assert not operators(unmasked) - operators(model)


def test_outputs_are_the_same_to_the_last_bit(sessions: tuple[MaskOnDemand, _ort.OnnxRuntimeSession]) -> None:
    loaded, masked = sessions
    for values in (feeds(60, 60), feeds(60, 60, 60), feeds(60, 60, 41), feeds(60, 35), feeds(77, 77)):
        padded = values["feature_lengths"].min() < values["features"].shape[1]
        ours, theirs = loaded.run(values), masked.run(values)
        assert list(ours) == list(theirs)
        for output, expected in theirs.items():
            np.testing.assert_array_equal(ours[output], expected)
        assert loaded.masks or not padded


def test_a_mask_is_loaded_for_the_first_padded_clip_and_stays(
    sessions: tuple[MaskOnDemand, _ort.OnnxRuntimeSession],
) -> None:
    loaded, _ = sessions
    loaded.run(feeds(50, 50, 50))
    assert not loaded.masks
    loaded.run(feeds(50, 50, 49))
    second = loaded.session
    assert loaded.masks
    loaded.run(feeds(50, 50, 49))
    loaded.run(feeds(50, 50))
    assert loaded.session is second


@pytest.mark.parametrize("own", [(50,), (40,)])
def test_a_closed_session_does_not_run(
    sessions: tuple[MaskOnDemand, _ort.OnnxRuntimeSession], own: tuple[int, ...]
) -> None:
    loaded, _ = sessions
    loaded.close()
    with pytest.raises(EngineError, match="closed"):
        loaded.run(feeds(50, *own))
    assert not loaded.masks


def encoder(
    constants: Mapping[str, Any] = {},
    inside: str = "inside",
    lengths: str = "feature_lengths",
    swapped: bool = False,
    read_again: bool = False,
) -> bytes:
    """Scores [batch, frames, frames] of features, masked and through a softmax; with one thing changed."""
    values = {"zero": np.float32(0), "low": np.float32(-1e9), "first": np.int64(0), "step": np.int64(1), **constants}
    nodes = [
        helper.make_node("MatMul", ["features", "across"], ["scores"]),
        helper.make_node("Shape", ["features"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["frames"]),
        helper.make_node("Range", ["first", "frames", "step"], ["numbers"]),
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
    tensors = {**values, "one": np.int64(1), "front": np.array([0]), "back": np.array([1])}
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
    model = without_mask(encoder(swapped=swapped))
    assert model is not None
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
    ],
    ids=str,
)
def test_what_hides_anything_else_stays(changed: dict[str, Any]) -> None:
    assert without_mask(encoder(**changed)) is None
