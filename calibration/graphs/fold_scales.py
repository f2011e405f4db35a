"""Fold the scaling of queries and keys into their projections.

1. The pattern is Add(bias, MatMul(x, weight)) → shape-only operators → Mul by one number, each read once.
2. weight and bias are multiplied by the number, the Mul goes: the result is the same but for rounding.
3. A quantiser may then sit at the projection's own output, and two passes over the activations are saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import SHAPE_ONLY, Graph, scalar
from .sites import linear_bias


def fold_scales(graph: Graph) -> int:
    """Fold every such Mul; returns how many."""
    folded = 0
    for node in list(graph.nodes):
        if node.op_type != "Mul" or node.output[0] in graph.outputs:
            continue
        numbers = [(scalar(graph.weights[name]), i) for i, name in enumerate(node.input) if name in graph.weights]
        if len(numbers) != 1 or numbers[0][0] is None:
            continue
        number, position = numbers[0]
        source = node.input[1 - position]
        if not _fold_into(graph, source, float(number or 0.0)):
            continue
        for reader in graph.consumers.get(node.output[0], []):
            for i, name in enumerate(reader.input):
                if name == node.output[0]:
                    reader.input[i] = source
        graph.substitute(node, [])
        folded += 1
    return folded


def _fold_into(graph: Graph, tensor: str, number: float) -> bool:
    while True:
        if len(graph.readers(tensor)) != 1 or tensor in graph.outputs:
            return False
        node = graph.producer.get(tensor)
        if node is None:
            return False
        if node.op_type not in SHAPE_ONLY:
            break
        tensor = node.input[0]
    owners: list[tuple[Any, int]] = []
    if node.op_type == "Add":
        found = linear_bias(graph, node)
        if found is None:
            return False
        product, bias = found
        owners = [(node, list(node.input).index(bias)), (product, 1)]
    elif node.op_type == "MatMul" and node.input[1] in graph.weights:
        owners = [(node, 1)]
    # 4. A weight that something else reads as well (exporters merge equal ones) is copied, not changed.
    for owner, position in owners:
        graph.own_weight(owner, position)
        name = owner.input[position]
        graph.weights[name] = (graph.weights[name] * np.float32(number)).astype(np.float32)
    graph.refresh()
    return bool(owners)
