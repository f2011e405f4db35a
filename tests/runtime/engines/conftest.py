"""A small model in every number scheme, written node by node: what engines need to be tried on real graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import STAGES, Convolution, ModelSpec, Output
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.engines._onnx_file import OnnxFile
from wav2edge.runtime.heads.ctc import Options

TIME = (Convolution(10, 5, 0), Convolution(8, 4, 0))
CHANNELS, LABELS = 16, 8


def rewritten(model: bytes, rewrite: Callable[[OnnxFile], int]) -> tuple[bytes, int]:
    """An ONNX file after a rewrite, without the nodes that nothing reads, and how many places were rewritten."""
    graph = OnnxFile(model)
    count = rewrite(graph)
    graph.drop_unread()
    return graph.to_bytes(), count


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """Two convolutions and a linear layer on top."""
    return ModelSpec(
        architecture="wav2vec2",
        head="ctc",
        normalize=False,
        norm="layer",
        outputs=(Output("logits", ("batch", "frames", "labels"), "unnormalised log-probabilities"),),
        labels=("<pad>", "|", *"abcdef"),
        time=TIME,
        head_options=Options(),
        blank=0,
        delimiter="|",
    )


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory, small_spec: ModelSpec) -> Bundle:
    """Variants fp32, fp16, bf16, int8-s8s8 and int8-u8s8, each with its three stages."""
    path = tmp_path_factory.mktemp("engines") / "small"
    with new_bundle(path) as directory:
        variants = []
        for name, precision, scheme in (
            ("fp32", "fp32", None),
            ("fp16", "fp16", None),
            ("bf16", "bf16", None),
            ("int8-s8s8", "int8", "s8s8"),
            ("int8-u8s8", "int8", "u8s8"),
        ):
            graphs = {stage: f"{name}.{stage}.onnx" for stage in STAGES}
            for stage, file in graphs.items():
                write_graph(directory / file, name, stage)
            variants.append(describe_variant(directory, name, precision, graphs, scheme=scheme))
        write_manifest(directory, small_spec, variants, {"checkpoint": "none"})
    return Bundle.open(path)


def write_graph(path: Path, name: str, stage: str) -> None:
    """One stage of the model in one scheme."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(3)
    kind = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}.get(name, TensorProto.FLOAT)
    nodes: list[Any] = []
    inputs: list[Any]
    weights: list[Any] = []

    def constant(label: str, value: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(value), label))
        return label

    def weight(label: str, *shape: int) -> str:
        constant(f"{label}.stored", (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))
        if kind == TensorProto.FLOAT:
            return f"{label}.stored"
        nodes.append(helper.make_node("Cast", [f"{label}.stored"], [label], to=kind))
        return label

    if stage != "encoder":
        wave = "input_values" if stage == "full" else "normalized"
        nodes.append(helper.make_node("Unsqueeze", [wave, constant("one", np.array([1]))], ["wave"]))
        inputs = [(wave, TensorProto.FLOAT, ["batch", "samples"])]
        last = "wave"
        lengths = "input_lengths"
        for index, (channels, step) in enumerate(zip((1, CHANNELS), TIME)):
            if kind != TensorProto.FLOAT and index == 0:
                nodes.append(helper.make_node("Cast", [last], ["wave.cast"], to=kind))
                last = "wave.cast"
            kernel = weight(f"conv{index}", CHANNELS, channels, step.kernel)
            nodes.append(
                helper.make_node(
                    "Conv", [last, kernel], [f"conv{index}.out"], strides=[step.stride], name=f"conv{index}"
                )
            )
            nodes.append(helper.make_node("Relu", [f"conv{index}.out"], [f"relu{index}"], name=f"activation{index}"))
            last = f"relu{index}"
            taken = constant(f"kernel{index}", np.array(step.kernel))
            nodes.append(helper.make_node("Sub", [lengths, taken], [f"less{index}"]))
            nodes.append(
                helper.make_node("Div", [f"less{index}", constant(f"s{index}", np.array(step.stride))], [f"q{index}"])
            )
            nodes.append(
                helper.make_node("Add", [f"q{index}", constant(f"plus{index}", np.array(1))], [f"length{index}"])
            )
            lengths = f"length{index}"
        nodes.append(helper.make_node("Transpose", [last], ["features"], perm=[0, 2, 1]))
        inputs.append(("input_lengths", TensorProto.INT64, ["batch"]))
    else:
        inputs = [
            ("features", TensorProto.FLOAT, ["batch", "frames", None]),  # as the export cuts it: size left open
            ("feature_lengths", TensorProto.INT64, ["batch"]),
        ]
        lengths = "feature_lengths"
    if stage == "frontend":
        nodes.append(helper.make_node("Identity", [lengths], ["feature_lengths"]))
        nodes[-2].output[0] = "features.raw"
        nodes.append(helper.make_node("Cast", ["features.raw"], ["features"], to=TensorProto.FLOAT))
        outputs = [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", CHANNELS]),
            helper.make_tensor_value_info("feature_lengths", TensorProto.INT64, ["batch"]),
        ]
        graph = helper.make_graph(
            nodes, "small", [helper.make_tensor_value_info(*item) for item in inputs], outputs, weights
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return
    hidden = "features"
    if stage == "encoder" and kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", ["features"], ["features.cast"], to=kind))
        hidden = "features.cast"
    head = weight("head", CHANNELS, LABELS)
    if name.startswith("int8"):
        signed = "s8s8" in name
        zero = constant("zero", np.array(0, np.int8) if signed else np.array(3, np.uint8))
        scale = constant("scale", np.array(0.05, np.float32))
        stored = (random.integers(-127, 128, (CHANNELS, LABELS))).astype(np.int8)
        nodes.append(helper.make_node("QuantizeLinear", [hidden, scale, zero], ["features.q"]))
        nodes.append(helper.make_node("DequantizeLinear", ["features.q", scale, zero], ["features.dq"]))
        arguments = [constant("head.q", stored), constant("head.scale", np.array(0.01, np.float32))]
        nodes.append(
            helper.make_node("DequantizeLinear", [*arguments, constant("z", np.array(0, np.int8))], ["head.dq"])
        )
        hidden, head = "features.dq", "head.dq"
    nodes.append(helper.make_node("MatMul", [hidden, head], ["scores"], name="head"))
    nodes.append(helper.make_node("Cast", ["scores"], ["logits"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Identity", [lengths], ["output_lengths"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "out_frames", LABELS]),
            helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["batch"]),
        ],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
