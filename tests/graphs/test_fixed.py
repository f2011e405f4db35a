"""A graph of one length: every shape is a number, all operators are ONNX's, and the results are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from wav2edge.graphs import fixed
from wav2edge.graphs.graph import Graph
from wav2edge.graphs.storage import load_model
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.errors import BundleError

SAMPLES = 48000
DYNAMIC = {"Shape", "Range", "NonZero", "Size", "ConstantOfShape", "Expand", "Loop", "If"}


def run(
    model: onnx.ModelProto, clip: NDArray[np.float32], length: int, without: Sequence[str] = ()
) -> list[NDArray[np.float32]]:
    options = {"providers": ["CPUExecutionProvider"], "disabled_optimizers": list(without)}
    session = ort.InferenceSession(model.SerializeToString(), **options)
    feeds = {"input_values": clip[None], "input_lengths": np.array([length])}
    return [np.asarray(values) for values in session.run(None, feeds)]


@pytest.mark.parametrize("variant", ["fp32", "int8-u8s8", "int8-s8s8"])
def test_a_shorter_clip_gives_what_it_gives_alone(variant: str, clips: list[tuple[str, str]]) -> None:
    path = embedded.bundle_path() / f"{variant}.onnx"
    graph = Graph.load(path)
    fixed.fix_length(graph, SAMPLES)
    model = graph.to_model()
    onnx.checker.check_model(model)
    assert not DYNAMIC & {node.op_type for node in model.graph.node}
    assert {entry.domain for entry in model.opset_import} == {""}
    for value in (*model.graph.input, *model.graph.output):
        assert all(dimension.dim_value for dimension in value.type.tensor_type.shape.dim), value.name
    clip = read.load(next(path for path, _ in clips if "milk" in str(path)), 16000)[: SAMPLES - 9000]
    padded = np.full(SAMPLES, np.nan, dtype=np.float32)  # whatever comes after the clip
    padded[: len(clip)] = clip
    logits, lengths = run(
        model, padded, len(clip), [] if variant == "fp32" else ["MatMulAddFusion", "SkipLayerNormFusion"]
    )
    expected, expected_lengths = run(load_model(path), clip, len(clip))
    assert lengths.tolist() == expected_lengths.tolist()
    found = logits[0, : int(lengths[0])]
    if variant == "fp32":
        np.testing.assert_allclose(found, expected[0], atol=2e-5)
    else:
        np.testing.assert_array_equal(found, expected[0])


def test_what_cannot_be_fixed_is_named() -> None:
    nodes = [
        helper.make_node("NonZero", ["input_values"], ["places"], "find"),
        helper.make_node("Cast", ["places"], ["logits"], "cast", to=TensorProto.FLOAT),
    ]
    made = helper.make_graph(
        nodes,
        "dynamic",
        [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, "n"])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BundleError, match=r"places \(written by NonZero find\) has no fixed shape"):
        fixed.fix_length(Graph(model), 16)
