"""Compute in fp16 or bf16 what is safe there, and keep in FP32 what overflows.

1. Convolutions, matrix products, GELU and the additions between them go to half precision, with their weights.
2. Norms, softmax, reductions, the waveform's normalisation, masks and every length stay in FP32: in fp16 models of this
   family give NaN there.
3. A Cast is put where a tensor of one precision is read in the other, once for each tensor; the graph's inputs and
   outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

import numpy as np

from wav2edge.runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, NORMALIZED

from ...graphs.graph import SHAPE_ONLY, Graph
from ...graphs.nodes import Node, Tensor, inside_norm, integer, make_node, rename_inputs

HalfPrecision: TypeAlias = Literal["fp16", "bf16"]
"""The two ways to store a floating-point number in two bytes."""

_COMPUTE = frozenset({"Conv", "MatMul", "Gemm", "Gelu"})
_FOLLOW = SHAPE_ONLY | {"Slice", "Erf", "Add", "Mul", "Div", "Relu"}
"""Operators that take the precision of what they read."""
_CONTRACT = frozenset({NORMALIZED, FEATURES, FEATURE_LENGTHS})
"""Values where the stages are cut: FP32 in every variant."""
_LARGEST_FP16 = 65504.0
_NEVER_FLOAT = frozenset({"Shape", "Size", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}) | frozenset(
    {"Not", "And", "Or", "ArgMax", "NonZero", "IsNaN", "IsInf"}
)
"""Operators whose results are integers or booleans, whatever they read."""
_DECIDING_INPUT = {"Where": 1}
"""The position of the input whose type an operator's result has, where it is not the first."""


def to_half(graph: Graph, precision: HalfPrecision, keep_float: Collection[str] = ()) -> int:
    """Convert in place to ``fp16`` or ``bf16``; ``keep_float`` names nodes to leave. Returns how many changed."""
    converter = _Converter(graph, precision, keep_float)
    for node in list(graph.nodes):
        converter.node(node)
    for value in graph.model.graph.output:
        converter.graph_output(value.name)
    graph.replace_nodes(converter.nodes)
    graph.sort()
    graph.drop_unused()
    return len(converter.chosen)


class _Converter:
    """The new nodes of a graph in half precision; ``chosen``: the first outputs of those that compute in it."""

    def __init__(self, graph: Graph, precision: HalfPrecision, keep_float: Collection[str]) -> None:
        from onnx import TensorProto

        self.graph = graph
        self.precision = precision
        self.kind = int(TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16)
        self.floats = _float_tensors(graph)
        self.half: set[str] = set()
        self.chosen: set[str] = set()
        self.casts: dict[str, str] = {}
        self.nodes: list[Node] = []
        self._choose(keep_float)

    def _choose(self, keep_float: Collection[str]) -> None:
        for node in self.graph.nodes:
            if node.name in keep_float or inside_norm(node):
                continue
            if node.op_type in _COMPUTE or (node.op_type in _FOLLOW and self._follows(node)):
                self.chosen.add(node.output[0])
                self.half.update(node.output)

    def _follows(self, node: Node) -> bool:
        """Whether a light operator reads half precision, and in FP32 only weights that half precision can hold."""
        weights = self.graph.weights
        read = [name for name in node.input if name in self.floats]
        active = [name for name in read if name not in weights]
        fits = all(_fits(weights[name]) for name in read if name in weights)
        return bool(active) and fits and all(name in self.half for name in active) and node.output[0] not in _CONTRACT

    def node(self, node: Node) -> None:
        """Append a node, its inputs in the precision that it computes in."""
        in_half = node.output[0] in self.chosen
        for position, name in enumerate(node.input):
            if name in self.floats:
                node.input[position] = self._half_input(name) if in_half else self._float_input(node, name)
        self.nodes.append(node)

    def _half_input(self, name: str) -> str:
        if name in self.graph.weights:
            return _half_weight(self.graph, name, self.precision)
        return name if name in self.half else self._cast(name, "half", self.kind)

    def _float_input(self, node: Node, name: str) -> str:
        from onnx import TensorProto

        if name not in self.half or node.op_type == "Shape":
            return name
        return self._cast(name, "float", int(TensorProto.FLOAT))

    def _cast(self, name: str, suffix: str, kind: int) -> str:
        if name not in self.casts:
            self.casts[name] = f"{name}_{suffix}"
            self.nodes.append(make_node("Cast", [name], [self.casts[name]], self.casts[name], to=kind))
        return self.casts[name]

    def graph_output(self, name: str) -> None:
        """Cast an output of the graph to FP32, under its name."""
        from onnx import TensorProto

        if name not in self.half:
            return
        producer = next(node for node in self.nodes if name in node.output)
        inner = f"{name}_half_output"
        rename_inputs(self.nodes, {name: inner})
        producer.output[0] = inner
        self.nodes.append(make_node("Cast", [inner], [name], f"{name}_float", to=TensorProto.FLOAT))


def _fits(values: Tensor) -> bool:
    return bool(np.abs(values).max(initial=0.0) < _LARGEST_FP16)


def _half_weight(graph: Graph, name: str, precision: HalfPrecision) -> str:
    stored = f"{name}_{precision}"
    if stored not in graph.weights:
        values = graph.weights[name]
        if precision == "fp16":
            graph.weights[stored] = np.clip(values, -_LARGEST_FP16, _LARGEST_FP16).astype(np.float16)
        else:
            import ml_dtypes

            graph.weights[stored] = values.astype(ml_dtypes.bfloat16)
    return stored


def _float_tensors(graph: Graph) -> set[str]:
    """The names of all FP32 tensors, by following types through the graph."""
    from onnx import TensorProto

    floats = {name for name, values in graph.weights.items() if values.dtype == np.float32}
    floats |= {value.name for value in graph.model.graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    for node in graph.nodes:
        if _writes_float(node, floats):
            floats.update(node.output)
    return floats


def _writes_float(node: Node, floats: Collection[str]) -> bool:
    """Whether a node's results are FP32, given the FP32 tensors among those that it may read."""
    from onnx import TensorProto

    if node.op_type in _NEVER_FLOAT:
        return False
    if node.op_type == "Cast":
        return integer(node, "to") == TensorProto.FLOAT
    if node.op_type in ("ConstantOfShape", "Constant"):
        if not node.attribute:
            return node.op_type == "ConstantOfShape"
        return all(found.t.data_type == TensorProto.FLOAT for found in node.attribute)
    return bool(node.input) and node.input[_DECIDING_INPUT.get(node.op_type, 0)] in floats
