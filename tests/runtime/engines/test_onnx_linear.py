"""INT8 linear layers with their bias in one operator of ONNX Runtime give the numbers of the separate operators."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.runtime.engines.conftest import rewritten

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines._onnx_linear import join_bias
from wav2edge.runtime.engines.onnxruntime import _rewritten

INPUTS, OUTPUTS = 16, 24
LAYERS = 12


joined = functools.partial(rewritten, rewrite=join_bias)


def linear(
    changed: Mapping[str, Any] = {},
    swapped: bool = False,
    axis: int | None = 1,
    block: int = 0,
    read_again: bool = False,
    constant: bool = True,
    without_zero: str = "",
) -> bytes:
    """A quantised linear layer as the calibration writes it, with one thing changed."""
    random = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        "scale": np.float32(0.02),
        "zero": np.uint8(120),
        "weights": random.integers(-63, 64, (INPUTS, OUTPUTS)).astype(np.int8),
        "weights.scale": random.uniform(0.001, 0.01, OUTPUTS).astype(np.float32),
        "weights.zero": np.zeros(OUTPUTS, np.int8),
        "bias": random.standard_normal(OUTPUTS).astype(np.float32),
        **changed,
    }
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", INPUTS])]
    if not constant:
        shape = tensors.pop("bias").shape
        inputs.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, shape))
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    if block:
        options["block_size"] = block
    weights = ["weights", "weights.scale", "weights.zero"][: 2 if without_zero == "weights" else 3]
    read = ["quantised", "scale", "zero"][: 2 if without_zero == "read" else 3]
    nodes = [
        helper.make_node("QuantizeLinear", ["features", "scale", *read[2:]], ["quantised"]),
        helper.make_node("DequantizeLinear", read, ["read"]),
        helper.make_node("DequantizeLinear", weights, ["dequantised"], **options),
        helper.make_node("MatMul", ["read", "dequantised"], ["product"]),
        helper.make_node("Add", ["bias", "product"] if swapped else ["product", "bias"], ["result"]),
    ]
    outputs = [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", "frames", OUTPUTS])]
    if read_again:
        nodes.append(helper.make_node("Relu", ["product"], ["again"]))
        outputs.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, ["batch", "frames", OUTPUTS]))
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, initializers)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    )


def run(model: bytes) -> np.ndarray[Any, Any]:
    features = np.random.default_rng(1).standard_normal((2, 30, INPUTS)).astype(np.float32)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"features": features})[0])


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"swapped": True},
        {"changed": {"weights.scale": np.float32(0.01), "weights.zero": np.int8(0)}, "axis": None},
        {"changed": {"weights.zero": np.full(OUTPUTS, 3, np.int8)}},
    ],
    ids=str,
)
def test_a_linear_layer_becomes_one_operator_with_the_same_result(form: dict[str, Any]) -> None:
    model = linear(**form)
    ours, count = joined(model)
    assert count == 1
    nodes = onnx.load_from_string(ours).graph.node
    assert [node.op_type for node in nodes] == ["QuantizeLinear", "MatMulIntegerToFloat"]
    expected = run(model)
    np.testing.assert_allclose(run(ours), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    "form",
    [
        {"changed": {"zero": np.int8(3)}},  # ONNX Runtime multiplies signed activations in float on x86
        {"changed": {"weights": np.full((INPUTS, OUTPUTS), 7, np.uint8), "weights.zero": np.zeros(OUTPUTS, np.uint8)}},
        {
            "changed": {"weights.scale": np.ones(INPUTS, np.float32), "weights.zero": np.zeros(INPUTS, np.int8)},
            "axis": 0,
        },
        {
            "changed": {
                "weights.scale": np.ones((2, OUTPUTS), np.float32), "weights.zero": np.zeros((2, OUTPUTS), np.int8),
            },
            "axis": 0, "block": 8,
        },
        {"changed": {"bias": np.ones((1, OUTPUTS), np.float32)}},
        {"changed": {"bias": np.ones(1, np.float32)}},
        {"constant": False},
        {"read_again": True},
        {"without_zero": "read"},
        {"without_zero": "weights"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_computed_in_another_way_stays(form: dict[str, Any]) -> None:
    ours, count = joined(linear(**form))
    assert count == 0
    assert onnx.load_from_string(ours) == onnx.load_from_string(linear(**form))


def test_a_result_that_is_added_to_a_result_stays() -> None:
    """A residual sum adds no constant."""
    model = onnx.load_from_string(linear())
    model.graph.node[-1].input[:] = ["product", "product"]
    assert joined(model.SerializeToString())[1] == 0


def test_every_int8_layer_of_the_embedded_encoder_adds_its_bias_itself() -> None:
    bundle = Bundle.open(embedded.bundle_path())
    path = bundle.graph(bundle.variant("int8-u8s8"), "encoder")
    before, now = (Counter(n.op_type for n in onnx.load_from_string(m).graph.node) for m in _files(path.read_bytes()))
    assert now["MatMulIntegerToFloat"] >= 6 * LAYERS
    assert before["Add"] - now["Add"] == now["MatMulIntegerToFloat"] == before["MatMul"] - now["MatMul"]


def _files(model: bytes) -> tuple[bytes, bytes]:
    return model, joined(model)[0]


def test_float16_stays(tmp_path: Any) -> None:
    """ONNX Runtime's operator writes FP32."""
    path = tmp_path / "model.encoder.onnx"
    path.write_bytes(linear())
    assert _rewritten(path, in_float32=False) == (None, False)
    model, unmasked = _rewritten(path, in_float32=True)
    assert model is not None and not unmasked
