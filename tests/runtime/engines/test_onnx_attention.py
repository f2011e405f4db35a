"""Attention as one operator of ONNX Runtime gives the numbers of the operators that it takes the place of."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.runtime.engines.conftest import rewritten

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines._onnx_attention import join_attention
from wav2edge.runtime.engines._onnx_file import OnnxFile
from wav2edge.runtime.engines._onnx_mask import leave_out_mask

HEADS, SIZE, FRAMES = 4, 8, 70
WIDTH = HEADS * SIZE
LAYERS = 12


joined = functools.partial(rewritten, rewrite=join_attention)


def attention(
    bounds: tuple[tuple[int, int], ...] = (),
    factor: float | None = None,
    cut: tuple[int, ...] = (0, 0, -1, SIZE),
    perm: tuple[int, ...] = (0, 2, 1, 3),
    biased: bool = True,
    positions: bool = False,
    axis: int = -1,
    of_keys: int = 0,
    narrow: bool = False,
) -> bytes:
    """Attention as the exporter writes it.

    bounds: groups of heads, or none. of_keys: heads that keys are off by. narrow: biases are one number.
    """
    random = np.random.default_rng(0)
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "cut": np.array(cut),
        "joined": np.array([0, 0, -1]),
        "factor": np.float32(1 if factor is None else factor),
        "positions": random.standard_normal((1, 1, FRAMES, FRAMES)).astype(np.float32),
        "head_axis": np.array([1]),
    }
    nodes = []
    for name in ("queries", "keys", "values"):
        tensors[f"{name}.weight"] = random.standard_normal((WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5
        tensors[f"{name}.bias"] = random.standard_normal(1 if narrow else WIDTH).astype(np.float32)
        nodes += [
            helper.make_node("MatMul", ["features", f"{name}.weight"], [f"{name}.product"]),
            helper.make_node("Add" if biased else "Sub", [f"{name}.product", f"{name}.bias"], [f"{name}.projection"]),
            helper.make_node("Reshape", [f"{name}.projection", "cut"], [f"{name}.cut"]),
            helper.make_node("Transpose", [f"{name}.cut"], [name], perm=(0, 2, 3, 1) if name == "keys" else perm),
        ]
    for group, (first, end) in enumerate(bounds or [(0, HEADS)]):
        read = {name: name for name in ("queries", "keys", "values")}
        for name in read if bounds else ():
            off = of_keys if name == "keys" else 0
            read[name] = f"{name}.{group}"
            for bound, value in (("first", first + off), ("end", end + off)):
                tensors[f"{read[name]}.{bound}"] = np.array([value])
            inputs = [name, f"{read[name]}.first", f"{read[name]}.end", "head_axis"]
            nodes.append(helper.make_node("Slice", inputs, [read[name]]))
        scores = f"scores.{group}"
        nodes.append(helper.make_node("MatMul", [read["queries"], read["keys"]], [scores]))
        for operator, operand, wanted in (("Mul", "factor", factor is not None), ("Add", "positions", positions)):
            if wanted:
                nodes.append(helper.make_node(operator, [scores, operand], [scores := f"{scores}.{operand}"]))
        nodes.append(helper.make_node("Softmax", [scores], [f"{scores}.softmax"], axis=axis))
        nodes.append(helper.make_node("MatMul", [f"{scores}.softmax", read["values"]], [f"mixed.{group}"]))
    mixed = "mixed.0"
    if bounds:
        names = [f"mixed.{group}" for group in range(len(bounds))]
        nodes.append(helper.make_node("Concat", names, [mixed := "mixed"], axis=1))
    nodes += [
        helper.make_node("Transpose", [mixed], ["by_frame"], perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["by_frame", "joined"], ["result"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", WIDTH])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", "frames", WIDTH])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def run(model: bytes) -> np.ndarray[Any, Any]:
    features = np.random.default_rng(1).standard_normal((2, FRAMES, WIDTH)).astype(np.float32)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"features": features})[0])


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"factor": 0.3},
        {"cut": (0, 0, HEADS, -1)},
        {"cut": (0, 0, HEADS, SIZE), "biased": False},
        {"axis": 3},
        {"bounds": ((0, 2), (2, 4))},
        {"bounds": ((0, 1), (1, 3), (3, 4)), "factor": 0.3},
    ],
    ids=str,
)
def test_attention_becomes_one_operator_with_the_same_result(form: dict[str, Any]) -> None:
    model = attention(**form)
    ours, count = joined(model)
    assert count == 1
    kinds = Counter(node.op_type for node in onnx.load_from_string(ours).graph.node)
    assert kinds == Counter({"MatMul": 3, "Add" if form.get("biased", True) else "Sub": 3, "MultiHeadAttention": 1})
    np.testing.assert_allclose(run(ours), run(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        {"positions": True},
        {"biased": False},  # how many heads there are is not known
        {"cut": (0, 0, HEADS, SIZE), "perm": (0, 2, 3, 1)},
        {"axis": 2},
        {"factor": 0.0},
        {"narrow": True},
        {"cut": (0, 0, -1, 1), "narrow": True},
        {"cut": (0, 0, -1, 7)},
        {"bounds": ((0, 3), (3, 1), (1, 4))},
        {"bounds": ((2, 4), (0, 2))},
        {"bounds": ((0, 2), (2, 3))},
        {"bounds": ((0, 2), (1, 4))},
        {"bounds": ((0, 2), (1, 3)), "of_keys": 1},
    ],
    ids=str,
)
def test_what_is_computed_in_another_way_stays(form: dict[str, Any]) -> None:
    ours, count = joined(attention(**form))
    assert count == 0
    assert onnx.load_from_string(ours) == onnx.load_from_string(attention(**form))


@pytest.mark.parametrize(("name", "layers"), [("fp32", LAYERS), ("int8-u8s8", 0)])
def test_the_embedded_encoder_has_it_where_attention_is_in_float(name: str, layers: int) -> None:
    bundle = Bundle.open(embedded.bundle_path())
    graph = OnnxFile(bundle.graph(bundle.variant(name), "encoder").read_bytes())
    assert join_attention(graph) == 0, "the mask is added to the scores"
    assert leave_out_mask(graph) == LAYERS
    assert join_attention(graph) == layers


def test_every_part_of_a_file_that_is_not_changed_is_kept() -> None:
    model = helper.make_model(onnx.load_from_string(attention()).graph, producer_name="kept")
    model.metadata_props.add(key="of", value="the model")
    model.graph.node[0].doc_string, model.graph.input[0].doc_string = "of a node", "of an input"
    assert onnx.load_from_string(OnnxFile(model.SerializeToString()).to_bytes()) == model
