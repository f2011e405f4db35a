"""Name weights after the module that owns them.

1. The exporter transposes a linear layer's weight and calls it ``onnx::MatMul_523``; the MatMul's own name has the
   module: ``/encoder/layers.0/attention/q_proj/MatMul`` makes it ``encoder.layers.0.attention.q_proj.weight``.
2. Equal weights (fresh biases, all zero) are stored once by the exporter; each reader gets a separate copy, so that a
   pass which changes one module's weight never changes another's.
3. A name that is taken gets a number.
"""

from __future__ import annotations

from ...graphs.graph import Graph
from ...graphs.nodes import Node

_ROLES = {
    "MatMul": {1: "weight"},
    "Add": {0: "bias", 1: "bias"},
    "Conv": {1: "weight", 2: "bias"},
    "LayerNormalization": {1: "weight", 2: "bias"},
}


def name_weights(graph: Graph) -> int:
    """Rename the weights of linear, convolution and norm layers; returns how many were renamed."""
    changed = 0
    for node in graph.nodes:
        for position, role in _ROLES.get(node.op_type, {}).items():
            if position >= len(node.input) or node.input[position] not in graph.weights:
                continue
            old = node.input[position]
            if graph.weights[old].ndim == 0:
                continue
            wanted = f"{_module(node)}.{role}"
            if old == wanted:
                continue
            changed += _give(graph, node, position, wanted)
    graph.refresh()
    return changed


def _give(graph: Graph, node: Node, position: int, wanted: str) -> int:
    old = node.input[position]
    name, number = wanted, 1
    while name in graph.weights:
        number += 1
        name = f"{wanted}_{number}"
    graph.weights[name] = graph.weights[old]
    node.input[position] = name
    return 1


def _module(node: Node) -> str:
    return ".".join(node.name.strip("/").split("/")[:-1]) or node.op_type
