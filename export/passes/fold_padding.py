"""Fold the cut after the positional convolution into its padding.

1. An even kernel k is padded by k/2 on both sides and gives one frame too many, which transformers cuts off: the
   pattern is Slice(Conv(x), 0 or start, -1, last axis, 1), the Conv read by nothing else.
2. Padding one less at the end gives the same frames without the copy.
"""

from __future__ import annotations

from ...graphs.graph import Graph
from ...graphs.nodes import Node


def fold_padding(graph: Graph) -> int:
    """Fold every such cut; returns how many."""
    folded = 0
    for node in [node for node in graph.nodes if node.op_type == "Slice"]:
        conv = graph.producer.get(node.input[0])
        if conv is None or conv.op_type != "Conv" or len(graph.consumers[node.input[0]]) != 1:
            continue
        if node.output[0] in graph.outputs:
            continue
        pads = next((a for a in conv.attribute if a.name == "pads"), None)
        if pads is None or len(pads.ints) != 2 or pads.ints[1] < 1 or not _cuts_last_frame(graph, node):
            continue
        if any(a.name == "strides" and a.ints[0] != 1 for a in conv.attribute):
            continue
        pads.ints[1] -= 1
        graph.bypass(node, node.input[0])
        folded += 1
    return folded


def _cuts_last_frame(graph: Graph, node: Node) -> bool:
    if any(name not in graph.weights for name in node.input[1:]) or len(node.input) < 4:
        return False
    starts, ends, axes = (graph.weights[name].reshape(-1).tolist() for name in node.input[1:4])
    steps = graph.weights[node.input[4]].reshape(-1).tolist() if len(node.input) > 4 else [1]
    return (starts, ends, steps) == ([0], [-1], [1]) and axes in ([2], [-1])
