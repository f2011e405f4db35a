"""Compute attention in groups of heads, so that the scores of all heads are never in memory at once.

1. The scores of 12 heads over 30 s are 1 499 × 1 499 × 12 numbers: 108 MB, held twice around the softmax, in a variant
   whose weights take 95 MB. Heads do not depend on each other.
2. The queries, keys and values are sliced on the head axis, the nodes from the scores to the mixed values are repeated
   for each group, and the groups are joined on the same axis. Each number is computed from the same ones.
3. Attention whose bias has a head axis (relative positions) is left as it is.

For ONNX Runtime, which computes node by node; where attention is in float, wav2edge makes one operator of the groups
(runtime/engines/_onnx_attention.py). OpenVINO computes attention in blocks by itself.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from ...graphs.graph import SHAPE_ONLY, Graph
from ...graphs.nodes import Node, integer, make_node

HEADS = 2
"""Heads of a group: 18 MB of scores over 30 s, which stay in the last-level cache. At base shape the encoder takes
0.92 of the time of groups of four at 30 s, 0.95 at 20 s, and as long at 10 s and less. Single heads gain no more at
20 s and take 1.05 to 1.09 times as long at 5 s and less; with three, one of two threads waits, because ONNX Runtime
gives a thread whole heads."""
TOGETHER = 4
"""So many heads stay together: pairs of the embedded model take 0.94 to 1.09 of the time of all four, by length."""

_BETWEEN = frozenset({"Add", "Mul", "Div", "Softmax", "QuantizeLinear", "DequantizeLinear"})
"""Operators between the two products."""
_HEAD_AXIS = 1
"""Of [batch, heads, frames, size]."""


@dataclass(frozen=True)
class _Attention:
    """The nodes of one attention from the scores to the mixed values, in order, and what they read."""

    nodes: list[Node]
    by_head: tuple[str, ...]
    """Tensors with a head axis: queries, keys, values."""
    heads: int


def group_heads(graph: Graph, most: int | None = None) -> int:
    """Rewrite every attention of more than ``most`` heads, in place, in groups of so many; returns how many.

    None: every attention of more than ``TOGETHER`` heads, in groups of ``HEADS``.
    """
    found = [_match(graph, node) for node in list(graph.nodes) if node.op_type == "Softmax"]
    large = [attention for attention in found if attention is not None and attention.heads > (most or TOGETHER)]
    for attention in large:
        _rewrite(graph, attention, -(-attention.heads // (most or HEADS)))
    return len(large)


def _match(graph: Graph, softmax: Node) -> _Attention | None:
    """The attention around a softmax over keys; None where it is not one, or where its bias may have a head axis."""
    above = _to_product(graph, softmax.input[0])
    below = _from_softmax(graph, softmax)
    if above is None or below is None or integer(softmax, "axis") not in (-1, 3):
        return None
    inner = {node.output[0] for node in (*above, softmax, *below)}
    scores, values = above[0], below[-1]
    products = [(scores, 0), (scores, 1), (values, 1)]
    dequantizers = [_dequantizer(graph, node.input[position]) for node, position in products]
    shared = {
        name
        for node in (*above[1:], *below[:-1], softmax)
        for name in node.input
        if name not in inner and name not in graph.weights
    }
    heads = _heads(graph, scores.input[0])
    if heads is None or any(not _without_heads(graph, name) for name in shared):
        return None
    by_head = [
        node.input[position] if dequantizer is None else dequantizer.input[0]
        for dequantizer, (node, position) in zip(dequantizers, products)
    ]
    return _Attention(
        [*(node for node in dequantizers if node is not None), *above, softmax, *below], tuple(by_head), heads
    )


def _to_product(graph: Graph, tensor: str) -> list[Node] | None:
    """The nodes from a product of two activations to ``tensor``."""
    nodes: list[Node] = []
    while (node := graph.producer.get(tensor)) is not None and len(graph.readers(tensor)) == 1:
        nodes.insert(0, node)
        if node.op_type == "MatMul":
            return nodes if not any(name in graph.weights for name in node.input) else None
        if node.op_type not in _BETWEEN - {"Softmax"}:
            return None
        # A score is the operand that comes from a product; a bias or a factor is the other.
        tensor = next((name for name in node.input if _above(graph, name, "MatMul") is not None), "")
    return None


def _above(graph: Graph, tensor: str, operator: str, between: Set[str] = _BETWEEN - {"Softmax"}) -> Node | None:
    """The nearest node of an operator above a tensor, with only ``between`` on the way; None without one."""
    while (node := graph.producer.get(tensor)) is not None and node.op_type != operator:
        if node.op_type not in between:
            return None
        tensor = _activation(graph, node)
    return node


def _activation(graph: Graph, node: Node) -> str:
    return next((name for name in node.input if name in graph.producer), "")


def _from_softmax(graph: Graph, softmax: Node) -> list[Node] | None:
    """The nodes after a softmax up to the product with the values."""
    nodes: list[Node] = []
    tensor = softmax.output[0]
    while len(readers := graph.readers(tensor)) == 1 and tensor not in graph.outputs:
        nodes.append(readers[0])
        if readers[0].op_type == "MatMul":
            return nodes if readers[0].input[0] == tensor and readers[0].input[1] not in graph.weights else None
        if readers[0].op_type not in ("QuantizeLinear", "DequantizeLinear"):
            return None
        tensor = readers[0].output[0]
    return None


def _dequantizer(graph: Graph, tensor: str) -> Node | None:
    """The DequantizeLinear that gives a product its operand, which INT8 kernels need right in front of it."""
    node = graph.producer.get(tensor)
    return node if node is not None and node.op_type == "DequantizeLinear" and len(graph.readers(tensor)) == 1 else None


def _heads(graph: Graph, tensor: str) -> int | None:
    """How many heads the queries have: the width of the projection over the size of a head, which a Reshape names."""
    reshape = _above(graph, tensor, "Reshape", SHAPE_ONLY | _BETWEEN - {"Softmax"})
    shape = None if reshape is None else graph.weights.get(reshape.input[1])
    if reshape is None or shape is None or shape.shape != (4,) or int(shape[3]) <= 0:
        return None
    width = _width(graph, reshape.input[0])
    return None if width is None else width // int(shape[3])


def _width(graph: Graph, tensor: str) -> int | None:
    """The last axis of a linear layer's result."""
    product = _above(graph, tensor, "MatMul")
    if product is None:
        return None
    weight = graph.weights.get(product.input[1])
    weight = weight if weight is not None else graph.weights.get(_dequantized(graph, product.input[1]))
    return None if weight is None else int(weight.shape[-1])


def _dequantized(graph: Graph, tensor: str) -> str:
    node = graph.producer.get(tensor)
    return node.input[0] if node is not None and node.op_type == "DequantizeLinear" else ""


def _without_heads(graph: Graph, tensor: str) -> bool:
    """Whether a bias is the mask [batch, 1, 1, keys], which two Unsqueeze nodes make (export/attention.py)."""
    node = graph.producer.get(tensor)
    return node is not None and node.op_type == "Unsqueeze"


def _rewrite(graph: Graph, attention: _Attention, groups: int) -> None:
    last = attention.nodes[-1]
    stem = last.name
    bounds = [attention.heads * group // groups for group in range(groups + 1)]
    axis = _constant(graph, f"{stem}/head_axis", [_HEAD_AXIS])
    nodes: list[Node] = []
    results: list[str] = []
    for group, (first, end) in enumerate(itertools.pairwise(bounds)):
        names = {}
        begin, stop = (_constant(graph, f"{stem}/head_{bound}", [bound]) for bound in (first, end))
        for part, name in enumerate(dict.fromkeys(attention.by_head)):
            names[name] = f"{stem}/operand_{part}/group_{group}"
            nodes.append(make_node("Slice", [name, begin, stop, axis], [names[name]], names[name]))
        for node in attention.nodes:
            twin = _twin(node, f"/group_{group}")
            twin.input[:] = [names.get(name, name) for name in node.input]
            names[node.output[0]] = f"{stem}/{node.output[0]}/group_{group}"
            twin.output[0] = names[node.output[0]]
            nodes.append(twin)
        results.append(names[last.output[0]])
    nodes.append(make_node("Concat", results, [last.output[0]], f"{stem}/Concat", axis=_HEAD_AXIS))
    graph.substitute(last, nodes, gone=attention.nodes[:-1])


def _twin(node: Node, suffix: str) -> Node:
    twin: Node = copy.deepcopy(node)
    twin.name = f"{node.name}{suffix}" if node.name else ""
    return twin


def _constant(graph: Graph, name: str, values: Sequence[int]) -> str:
    graph.weights.setdefault(name, np.array(values, dtype=np.int64))
    return name
