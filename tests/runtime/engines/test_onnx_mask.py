"""An encoder without its mask gives the numbers of the one with it, and is run where no clip is padded alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
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
from wav2edge.runtime.engines._onnx_file import OnnxFile
from wav2edge.runtime.engines._onnx_mask import leave_out_mask
from wav2edge.runtime.engines.onnxruntime import MaskOnDemand
from wav2edge.runtime.errors import EngineError

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LAYERS = 12


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model).graph.node)


def without_mask(model: bytes) -> tuple[bytes, int]:
    """A file with the masks left out that may be, and how many these are."""
    graph = OnnxFile(model)
    count = leave_out_mask(graph)
    graph.drop_unread()
    return graph.to_bytes(), count


def feeds(frames: int, *own: int) -> dict[str, NDArray[Any]]:
    """Features of the embedded model, of so many frames for each clip."""
    features = np.random.default_rng(frames).standard_normal((len(own), frames, 320)).astype(np.float32)
    return {"features": features, "feature_lengths": np.array(own, np.int64)}


@dataclass(frozen=True)
class Pair:
    """The embedded encoder as it is loaded, and with its mask."""

    loaded: MaskOnDemand
    masked: _ort.OnnxRuntimeSession
    tolerance: float
    """How far their outputs may be apart: in float attention is one operator, whose sums have another order."""


@pytest.fixture(params=[("fp32", 5e-5), ("int8-u8s8", 0.0)], ids=lambda param: str(param[0]))
def pair(request: pytest.FixtureRequest) -> Pair:
    name, tolerance = request.param
    bundle = Bundle.open(embedded.bundle_path())
    variant, options = bundle.variant(name), EngineOptions(threads=1)
    loaded = engines.load(bundle, variant, "onnxruntime", "encoder", options)
    assert isinstance(loaded, MaskOnDemand)
    masked = _ort.open_session(bundle, variant, "encoder", options, [(_ort.CPU, {})])
    return Pair(loaded, _ort.OnnxRuntimeSession(masked, "encoder"), tolerance)


@pytest.mark.parametrize("name", ["fp32", "int8-u8s8"])
def test_every_layer_of_the_embedded_encoder_adds_no_mask(name: str) -> None:
    bundle = Bundle.open(embedded.bundle_path())
    model = bundle.graph(bundle.variant(name), "encoder").read_bytes()
    unmasked, count = without_mask(model)
    assert count == LAYERS
    assert operators(model) - operators(unmasked) == Counter({"Add": LAYERS, "Unsqueeze": 2, "Where": 1})
    assert not operators(unmasked) - operators(model)


def test_outputs_are_those_of_the_encoder_with_its_mask(pair: Pair) -> None:
    for values in (feeds(60, 60), feeds(60, 60, 60), feeds(60, 60, 41), feeds(60, 35), feeds(77, 77)):
        ours, theirs = pair.loaded.run(values), pair.masked.run(values)
        assert list(ours) == list(theirs)
        assert pair.loaded.masks or values["feature_lengths"].min() == values["features"].shape[1]
        for output, expected in theirs.items():
            tolerance = 0 if pair.loaded.masks else pair.tolerance
            np.testing.assert_allclose(np.float32(ours[output]), np.float32(expected), rtol=0, atol=tolerance)


def test_a_mask_is_loaded_for_the_first_padded_clip_and_stays(pair: Pair) -> None:
    loaded = pair.loaded
    loaded.run(feeds(50, 50, 50))
    assert not loaded.masks
    loaded.run(feeds(50, 50, 49))
    second = loaded.session
    assert loaded.masks
    loaded.run(feeds(50, 50, 49))
    loaded.run(feeds(50, 50))
    assert loaded.session is second


@pytest.mark.parametrize("own", [(50,), (40,)])
def test_a_closed_session_does_not_run(pair: Pair, own: tuple[int, ...]) -> None:
    pair.loaded.close()
    with pytest.raises(EngineError, match="closed"):
        pair.loaded.run(feeds(50, *own))
    assert not pair.loaded.masks


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
    ],
    ids=str,
)
def test_what_hides_anything_else_stays(changed: dict[str, Any]) -> None:
    assert without_mask(encoder(**changed))[1] == 0
