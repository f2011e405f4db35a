"""Replace shapes that are computed at run time by constants with ONNX's place-holders.

1. A Reshape's target is a Concat of pieces: constants, and single dimensions read with Gather(Shape(x), i).
2. A piece at position i that reads dimension i of the very tensor that is reshaped becomes 0 (ONNX: copy it).
3. A read of another tensor's dimension counts as well when the operators between keep it: LayerNormalization, Softmax,
   MatMul, Transpose, static Reshape, and Add or Mul (of tensors of one shape, a weight, or the attention mask, which
   Unsqueeze brought to four dimensions).
4. At most one piece may be unknown; it becomes -1. With two the Reshape is not changed.

The attention of each layer has some 30 nodes fewer, and a fixed number and size of heads.
"""

from __future__ import annotations

import numpy as np

from ...graphs.graph import Graph
from ...graphs.nodes import Node

_Dimension = tuple[str, int]
"""A tensor and one of its axes."""


def static_reshapes(graph: Graph) -> int:
    """Make every Reshape static that can be; returns how many."""
    changed = 0
    for node in graph.nodes:
        if node.op_type != "Reshape" or node.input[1] in graph.weights:
            continue
        concat = graph.producer.get(node.input[1])
        if concat is None or concat.op_type != "Concat":
            continue
        target = [_piece(graph, name, node.input[0], i) for i, name in enumerate(concat.input)]
        if target.count(None) + target.count(-1) > 1:
            continue
        name = f"{node.output[0]}_shape"
        graph.weights[name] = np.array([-1 if piece is None else piece for piece in target], dtype=np.int64)
        node.input[1] = name
        changed += 1
    graph.refresh()
    return changed


def _piece(graph: Graph, name: str, reshaped: str, position: int) -> int | None:
    if name in graph.weights:
        return int(graph.weights[name].reshape(-1)[0])
    read = _dimension_read(graph, name)
    if read is not None and _origin(graph, read) == _origin(graph, (reshaped, position)):
        return 0
    return None


def _dimension_read(graph: Graph, name: str) -> _Dimension | None:
    """What Unsqueeze(Gather(Shape(x), i)) reads."""
    node = graph.producer.get(name)
    if node is not None and node.op_type == "Unsqueeze":
        node = graph.producer.get(node.input[0])
    if node is None or node.op_type != "Gather" or node.input[1] not in graph.weights:
        return None
    shape = graph.producer.get(node.input[0])
    if shape is None or shape.op_type != "Shape" or shape.attribute:
        return None
    return shape.input[0], int(graph.weights[node.input[1]])


def _origin(graph: Graph, dimension: _Dimension) -> _Dimension:
    """Follow a dimension upwards through operators that keep it."""
    tensor, axis = dimension
    while True:
        node = graph.producer.get(tensor)
        step = None if node is None or axis < 0 else _step(graph, node, axis)
        if step is None:
            return tensor, axis
        tensor, axis = step


def _step(graph: Graph, node: Node, axis: int) -> _Dimension | None:
    if node.op_type == "LayerNormalization":
        return node.input[0], axis
    if node.op_type == "MatMul":
        if axis == 0 and node.input[1] not in graph.weights:
            # Attention: scores and values share the batch of both factors.
            return node.input[0], axis
        if node.input[1] in graph.weights and graph.weights[node.input[1]].ndim == 2 and axis < 2:
            return node.input[0], axis
        return _second_last(graph, node, axis)
    if node.op_type in ("Add", "Mul"):
        terms = [name for name in node.input if not _is_broadcast(graph, name)]
        return (terms[0], axis) if terms else None
    if node.op_type == "Softmax":
        return node.input[0], axis
    if node.op_type == "Transpose":
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        return None if order is None else (node.input[0], order[axis])
    if node.op_type == "Reshape" and node.input[1] in graph.weights:
        target = graph.weights[node.input[1]].reshape(-1)
        # Leading zeros copy; after them positions shift.
        return (node.input[0], axis) if axis < len(target) and not target[: axis + 1].any() else None
    return None


def _second_last(graph: Graph, node: Node, axis: int) -> _Dimension | None:
    """Rows of a batched product [batch, heads, rows, columns] are the rows of its first factor."""
    return (node.input[0], axis) if axis == 2 and node.input[1] not in graph.weights else None


def _is_broadcast(graph: Graph, name: str) -> bool:
    """Whether a term is a weight or a mask, whose dimensions say nothing of the result's."""
    if name in graph.weights:
        return True
    producer = graph.producer.get(name)
    return producer is not None and producer.op_type == "Unsqueeze"
