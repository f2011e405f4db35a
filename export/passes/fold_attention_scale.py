"""Fold the scale of attention scores into the query projection.

1. The pattern is Mul(MatMul(queries, keys), number), where queries reach the product from Add(bias, MatMul(x, weight))
   through shape-only operators that nothing else reads.
2. Weight and bias are multiplied by the number and the Mul is removed. For head sizes that are powers of four (16, 64)
   the number is a power of two and nothing is rounded.
3. It saves a pass over the scores [batch, heads, frames, frames], the largest tensor of the transformer; in INT8 the
   Mul would be between two quantised products.
"""

from __future__ import annotations

import numpy as np

from ...graphs.graph import SHAPE_ONLY, Graph, scalar
from ...graphs.nodes import Node


def fold_attention_scale(graph: Graph) -> int:
    """Fold every scale; returns how many."""
    folded = 0
    for node in [node for node in graph.nodes if node.op_type == "Mul"]:
        factors = [name for name in node.input if name in graph.weights]
        if (
            node.output[0] in graph.outputs
            or len(factors) != 1
            or (number := scalar(graph.weights[factors[0]])) is None
        ):
            continue
        scores = next(name for name in node.input if name != factors[0])
        product = graph.producer.get(scores)
        if product is None or product.op_type != "MatMul" or len(graph.consumers[scores]) != 1:
            continue
        owners = _projection(graph, product.input[0])
        if owners is None:
            continue
        for owner, position in owners:
            name = owner.input[position]
            graph.weights[name] = (graph.weights[name] * np.float32(number)).astype(np.float32)
        graph.bypass(node, scores)
        folded += 1
    return folded


def _projection(graph: Graph, tensor: str) -> list[tuple[Node, int]] | None:
    """The weight and the bias that make queries, as (node, input position); None where something else reads them."""
    found: list[tuple[Node, int]] = []
    while True:
        node = graph.producer.get(tensor)
        if node is None or len(graph.consumers[tensor]) != 1:
            return None
        if node.op_type in SHAPE_ONLY:
            tensor = node.input[0]
            continue
        weights = [position for position, name in enumerate(node.input) if name in graph.weights]
        if len(weights) != 1 or len(graph.consumers[node.input[weights[0]]]) != 1:
            return None
        found.append((node, weights[0]))
        if node.op_type == "MatMul":
            return found if weights[0] == 1 else None
        if node.op_type != "Add":
            return None
        tensor = node.input[1 - weights[0]]
