"""Give a long convolution at least 65 positions, so that ONNX Runtime sums in one order for every length of a clip.

ONNX Runtime multiplies 64 columns or fewer in other blocks (``MlasSgemmOperation`` in its ``sgemm.cpp``), which moves
the last digits of each sum. INT8 rounds some of these to another number, so a clip of less than 1.3 s could have
another letter alone than in a batch or in a graph of fixed length.

1. Only convolutions over time of 8 taps and more with stride 1 that are summed in float: what is quantised right behind
   them is summed in integers, whose order has no effect.
2. Zeros are added at the end of the input, before it is quantised, until there are 65 positions; the result is cut to
   the length of the input. A longer input passes unchanged.
"""

from __future__ import annotations

import numpy as np

from ...graphs.graph import Graph
from ...graphs.nodes import Node, integers, make_node

LEAST = 65
"""Positions from which the blocks of a sum are the same."""
_LONG = 8


def least_positions(graph: Graph) -> int:
    """Apply it to every such convolution; returns how many."""
    found = [node for node in graph.nodes if node.op_type == "Conv" and _is_long(node) and _in_float(graph, node)]
    for result in [node.output[0] for node in found]:
        _widen(graph, graph.producer[result])  # looked up anew: a replaced node is another object
    return len(found)


def _is_long(node: Node) -> bool:
    """Whether a convolution has many taps over one axis and as many outputs as inputs."""
    kernel, pads = integers(node, "kernel_shape") or [], integers(node, "pads") or []
    plain = all((integers(node, name) or [1]) == [1] for name in ("strides", "dilations"))
    return len(kernel) == 1 and kernel[0] >= _LONG and plain and sum(pads) == kernel[0] - 1


def _in_float(graph: Graph, node: Node) -> bool:
    result = node.output[0]
    return result in graph.outputs or any(reader.op_type != "QuantizeLinear" for reader in graph.readers(result))


def _widen(graph: Graph, conv: Node) -> None:
    reader = conv
    while (source := graph.producer.get(reader.input[0])) is not None:
        alone = len(graph.readers(source.output[0])) == 1 and source.output[0] not in graph.outputs
        if source.op_type not in ("DequantizeLinear", "QuantizeLinear") or not alone:
            break
        reader = source
    narrow, name = reader.input[0], f"{conv.name}/least"
    weights = {
        "positions": np.array([LEAST], np.int64),
        "none": np.array([0], np.int64),
        "before": np.zeros(5, np.int64),
        "last": np.array([2], np.int64),
    }
    names = {part: graph.free_weight_name(f"{name}_{part}") for part in weights}
    graph.weights.update({names[part]: values for part, values in weights.items()})
    length, missing, lacking, pads, wide = (
        f"{name}/{part}" for part in ("length", "missing", "lacking", "pads", "wide")
    )
    added = [
        make_node("Shape", [narrow], [length], length, start=2, end=3),
        make_node("Sub", [names["positions"], length], [missing], missing),
        make_node("Max", [missing, names["none"]], [lacking], lacking),
        make_node("Concat", [names["before"], lacking], [pads], pads, axis=0),
        make_node("Pad", [narrow, pads], [wide], wide),
    ]
    result = conv.output[0]
    conv.output[0] = f"{name}/result"
    cut = make_node("Slice", [conv.output[0], names["none"], length, names["last"]], [result], f"{name}/cut")
    reader.input[0] = wide
    graph.substitute(reader, [*added, reader])
    graph.substitute(conv, [conv, cut])
