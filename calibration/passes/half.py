"""Compute in fp16 or bf16 what is safe there, and keep in FP32 what overflows.

1. Convolutions, matrix products, GELU and the additions between them go to half precision, with their weights.
2. Norms, softmax, reductions, the waveform's normalisation, masks and every length stay in FP32: they are the places
   where this family turns to NaN in fp16.
3. A Cast stands where one world meets the other, once for each tensor; inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ...graphs.graph import SHAPE_ONLY, Graph, inside_norm

_COMPUTE = frozenset({"Conv", "MatMul", "Gemm", "Gelu"})
_FOLLOW = SHAPE_ONLY | {"Slice", "Erf", "Add", "Mul", "Div", "Relu"}
"""Operators that take the precision of what they read."""
_LARGEST_FP16 = 65504.0


def to_half(graph: Graph, precision: str, keep_float: Collection[str] = ()) -> int:
    """Convert in place to ``fp16`` or ``bf16``; ``keep_float`` names nodes to leave. Returns how many changed."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    floats = _float_tensors(graph)
    half: set[str] = set()
    chosen: list[Any] = []
    for node in graph.nodes:
        if node.name in keep_float or inside_norm(node):
            continue
        if node.op_type in _COMPUTE or (node.op_type in _FOLLOW and _follows(graph, node, half, floats)):
            chosen.append(node.output[0])
            half.update(node.output)
    chosen_set = set(chosen)
    casts: dict[str, str] = {}
    nodes: list[Any] = []

    def cast(name: str, to: int) -> str:
        if name not in casts:
            casts[name] = f"{name}_{'half' if to == kind else 'float'}"
            nodes.append(helper.make_node("Cast", [name], [casts[name]], casts[name], to=to))
        return casts[name]

    for node in list(graph.nodes):
        inside = node.output[0] in chosen_set
        for position, name in enumerate(node.input):
            if name not in floats:
                continue
            if inside and name in graph.weights:
                node.input[position] = _half_weight(graph, name, precision)
            elif inside and name not in half:
                node.input[position] = cast(name, kind)
            elif not inside and name in half and node.op_type != "Shape":
                node.input[position] = cast(name, TensorProto.FLOAT)
        nodes.append(node)
    for value in graph.model.graph.output:
        if value.name in half:
            producer = next(node for node in nodes if value.name in node.output)
            inner = f"{value.name}_half_output"
            for node in nodes:
                for position, name in enumerate(node.input):
                    if name == value.name:
                        node.input[position] = inner
            producer.output[0] = inner
            nodes.append(helper.make_node("Cast", [inner], [value.name], f"{value.name}_float", to=TensorProto.FLOAT))
    graph.replace_nodes(nodes)
    graph.sort()
    graph.drop_unused()
    return len(chosen)


def _follows(graph: Graph, node: Any, half: set[str], floats: set[str]) -> bool:
    """Whether a light operator reads half precision, and nothing in FP32 but weights that fit."""
    read = [name for name in node.input if name in floats]
    active = [name for name in read if name not in graph.weights]
    fits = all(_fits(graph.weights[name]) for name in read if name in graph.weights)
    return bool(active) and fits and all(name in half for name in active) and node.output[0] not in _CONTRACT


_CONTRACT = frozenset({"normalized", "features", "feature_lengths"})


def _fits(values: Any) -> bool:
    return bool(np.abs(values).max(initial=0.0) < _LARGEST_FP16)


def _half_weight(graph: Graph, name: str, precision: str) -> str:
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
        if node.op_type == "Cast":
            is_float = next(a.i for a in node.attribute if a.name == "to") == TensorProto.FLOAT
        elif node.op_type in ("ConstantOfShape", "Constant"):
            is_float = all(a.t.data_type == TensorProto.FLOAT for a in node.attribute) and bool(node.attribute)
            is_float = is_float or (node.op_type == "ConstantOfShape" and not node.attribute)
        elif node.op_type in (
            "Shape",
            "Size",
            "Equal",
            "Less",
            "Greater",
            "LessOrEqual",
            "GreaterOrEqual",
            "Not",
            "And",
            "Or",
            "ArgMax",
            "NonZero",
            "IsNaN",
            "IsInf",
        ):
            is_float = False
        elif node.op_type == "Where":
            is_float = node.input[1] in floats
        elif node.op_type == "Range":
            is_float = node.input[0] in floats
        else:
            is_float = bool(node.input) and node.input[0] in floats
        if is_float:
            floats.update(node.output)
    return floats
