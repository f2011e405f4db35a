"""Rewrite Silero's network without branches: matrix products of all frames in place of convolutions of four.

    python recipes/silero.py tests/data/silero_vad_16k_op15.onnx runtime/live/data/silero_vad_16k.onnx

As published (silero-vad 6.2.3, src/silero_vad/data), most of a run is the choice and the call of small operators, also
in a batch, and OpenVINO 2026.4 does not load it. The weights are the same; probabilities differ by rounding.

1. The spectrum is a product of the frames of 256 samples, 128 apart, with the basis; the last 64 samples are mirrored.
2. A convolution over three frames is a product of the three, side by side, with its weights.
3. The recurrent cell is one product of input and state with both weight matrices; ONNX orders its gates otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_LAYERS = ((4, 1), (4, 2), (2, 2), (1, 1))  # frames before each convolution, and its stride


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}

    def add(self, kind: str, inputs: Sequence[str], output: str | list[str], **attributes: int | str) -> str:
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))  # type: ignore[arg-type]
        return outputs[0]

    def constant(self, name: str, values: NDArray[np.generic] | list[int]) -> str:
        self.constants[name] = np.asarray(values, np.int64) if isinstance(values, list) else values
        return name

    def cut(self, name: str, output: str, axis: int, begin: int, end: int, step: int = 1) -> str:
        bounds = [self.constant(f"number_{value}", [value]) for value in (begin, end, axis, step)]
        return self.add("Slice", [name, *bounds], output)

    def affine(self, name: str, output: str, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        product = self.add("MatMul", [name, self.constant(f"{output}_weights", weights)], f"{output}_product")
        return self.add("Add", [product, self.constant(f"{output}_bias", bias)], output)


def flat(published: onnx.ModelProto) -> onnx.ModelProto:
    """The network rewritten: input [batch, 576] and state [2, batch, 128] to output [batch, 1] and stateN."""
    weights = {item.name.removeprefix("model."): numpy_helper.to_array(item) for item in published.graph.initializer}
    graph = _Graph()
    features = _encoded(graph, _magnitudes(graph, weights["stft.forward_basis_buffer"]), weights)
    _cell(graph, features, weights)
    inputs = [_value("input", ["batch", 576]), _value("state", [2, "batch", 128])]
    outputs = [_value("output", ["batch", 1]), _value("stateN", [2, "batch", 128])]
    constants = [numpy_helper.from_array(np.ascontiguousarray(each), name) for name, each in graph.constants.items()]
    made = helper.make_graph(graph.nodes, "silero_vad_16k", inputs, outputs, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], producer_name="wav2edge")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _magnitudes(graph: _Graph, basis: NDArray[np.float32]) -> str:
    """Rule 1: [batch, 4, 129]."""
    padded = graph.add("Pad", ["input", graph.constant("mirror", [0, 0, 0, 64])], "padded", mode="reflect")
    halves = graph.add("Reshape", [padded, graph.constant("halves_shape", [0, 5, 128])], "halves")
    parts = [graph.cut(halves, f"half_{begin}", 1, begin, begin + 4) for begin in (0, 1)]
    frames = graph.add("Concat", parts, "frames", axis=2)
    spectrum = graph.add("MatMul", [frames, graph.constant("basis", basis[:, 0].T)], "spectrum")
    squares = graph.add("Mul", [spectrum, spectrum], "squares")
    parts = [graph.cut(squares, "real", 2, 0, 129), graph.cut(squares, "imaginary", 2, 129, 258)]
    return graph.add("Sqrt", [graph.add("Add", parts, "power")], "magnitudes")


def _encoded(graph: _Graph, name: str, weights: dict[str, NDArray[np.float32]]) -> str:
    """Rule 2: [batch, 128]."""
    for index, (frames, stride) in enumerate(_LAYERS):
        kernel, bias = (weights[f"encoder.{index}.reparam_conv.{part}"] for part in ("weight", "bias"))
        padded = graph.add("Pad", [name, graph.constant("one_frame", [0, 1, 0, 0, 1, 0])], f"padded_{index}")
        count = (frames - 1) // stride + 1
        cuts = [
            graph.cut(padded, f"frames_{index}_{tap}", 1, tap, tap + (count - 1) * stride + 1, stride)
            for tap in range(3)
        ]
        beside = graph.add("Concat", cuts, f"beside_{index}", axis=2)
        sums = graph.affine(beside, f"convolution_{index}", np.concatenate(list(kernel.transpose(2, 1, 0))), bias)
        name = graph.add("Relu", [sums], f"encoded_{index}")
    return graph.add("Reshape", [name, graph.constant("features_shape", [-1, 128])], "features")


def _cell(graph: _Graph, features: str, weights: dict[str, NDArray[np.float32]]) -> None:
    """Rule 3, and the probability."""
    first = graph.constant("first_axis", [0])
    graph.add("Split", ["state"], ["hidden_row", "cell_row"], axis=0, num_outputs=2)
    hidden, cell = (graph.add("Squeeze", [f"{part}_row", first], part) for part in ("hidden", "cell"))
    both = np.concatenate((weights["decoder.rnn.weight_ih"].T, weights["decoder.rnn.weight_hh"].T))
    bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
    joined = graph.add("Concat", [features, hidden], "joined", axis=1)
    gates = graph.affine(joined, "gates", both, bias)
    graph.add("Split", [gates], ["in_gate", "forget_gate", "new", "out_gate"], axis=1, num_outputs=4)
    opened = {name: graph.add("Sigmoid", [name], f"{name}_open") for name in ("in_gate", "forget_gate", "out_gate")}
    kept = graph.add("Mul", [opened["forget_gate"], cell], "kept")
    taken = graph.add("Mul", [opened["in_gate"], graph.add("Tanh", ["new"], "new_values")], "taken")
    cell = graph.add("Add", [kept, taken], "cell_next")
    hidden = graph.add("Mul", [opened["out_gate"], graph.add("Tanh", [cell], "cell_values")], "hidden_next")
    score = graph.affine(
        graph.add("Relu", [hidden], "heard"), "score", weights["decoder.decoder.2.weight"][:, :, 0].T,
        weights["decoder.decoder.2.bias"],
    )  # fmt: skip
    graph.add("Sigmoid", [score], "output")
    rows = [graph.add("Unsqueeze", [name, first], f"{name}_row") for name in (hidden, cell)]
    graph.add("Concat", rows, "stateN", axis=0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("error: give the published network and the file to write, as the first lines of this file show")
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(flat(onnx.load(source)).SerializeToString())
