"""Variants that need no calibration: dynamic INT8 and 4-bit weights.

1. dynamic: linear layers only, as ONNX Runtime fuses them (DynamicQuantizeMatMul). Convolutions would become slower
   than FP32 that way, and ConvInteger is not implemented everywhere.
2. int4: linear layers' weights in blocks of 32 (MatMulNBits): for boards where memory is the limit.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ...graphs.graph import Graph, use_domain
from ...graphs.nodes import Node, make_node
from ..sites import find_sites
from .qdq import quantize_weight

DOMAIN = "com.microsoft"

BLOCK = 32
"""Weights that share a scale: MatMulNBits takes powers of two from 16. At 32 the fp32 scale adds one bit to the four of
each weight."""


def quantize_dynamic(graph: Graph, keep_float: Collection[str]) -> None:
    """Linear layers in INT8, weights with a scale for each output channel, activations measured at each run."""
    from onnx import TensorProto

    measured: dict[str, list[str]] = {}
    for node in _linear(graph, keep_float):
        source, weight, stem = node.input[0], node.input[1], node.name
        new: list[Node] = []
        if source not in measured:
            measured[source] = [f"{source}_{part}" for part in ("quantized", "scale", "zero_point")]
            new.append(make_node("DynamicQuantizeLinear", [source], measured[source], f"{source}_quantize"))
        values, scale, zero = measured[source]
        if f"{weight}_quantized" not in graph.weights:
            quantized, scales = quantize_weight(graph.floats(weight), axis=1, limit=127)
            graph.weights[f"{weight}_quantized"], graph.weights[f"{weight}_scale"] = quantized, scales
            graph.weights[f"{weight}_zero_point"] = np.zeros(len(scales), np.int8)
        product = [values, f"{weight}_quantized", zero, f"{weight}_zero_point"]
        new += [
            make_node("MatMulInteger", product, [f"{stem}_integer"], stem),
            make_node("Cast", [f"{stem}_integer"], [f"{stem}_float"], f"{stem}_cast", to=TensorProto.FLOAT),
            make_node("Mul", [scale, f"{weight}_scale"], [f"{stem}_scale"], f"{stem}_scales"),
            make_node("Mul", [f"{stem}_float", f"{stem}_scale"], list(node.output), f"{stem}_scaled"),
        ]
        graph.substitute(node, new)
    graph.drop_unused()


def quantize_int4(graph: Graph, keep_float: Collection[str]) -> None:
    """Linear layers' weights in 4 bits, symmetric, in blocks of 32."""
    for node in _linear(graph, keep_float):
        weight = graph.weights[node.input[1]]
        packed, scales = pack_int4(graph.floats(node.input[1]))
        names = [f"{node.input[1]}_int4", f"{node.input[1]}_int4_scales"]
        graph.weights[names[0]], graph.weights[names[1]] = packed, scales.reshape(-1)
        inputs, outputs = weight.shape
        # accuracy_level 4: the kernel may quantise activations to int8 block by block, its fastest way on a CPU.
        attributes = {"K": inputs, "N": outputs, "bits": 4, "block_size": BLOCK, "accuracy_level": 4}
        new = make_node(
            "MatMulNBits", [node.input[0], *names], list(node.output), node.name, domain=DOMAIN, **attributes
        )
        graph.substitute(node, [new])
    use_domain(graph, DOMAIN)
    graph.drop_unused()


def _linear(graph: Graph, keep_float: Collection[str]) -> list[Node]:
    """The nodes of linear layers to quantise, as other variants have them: none of a log-mel front end."""
    names = {site.node for site in find_sites(graph) if site.kind == "linear"} - set(keep_float)
    return [node for node in graph.nodes if node.name in names]


def pack_int4(weight: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A weight [inputs, outputs] as MatMulNBits stores it: uint8 [outputs, blocks, 16], low half first, zero at 8.

    Returns it with its scales [outputs, blocks]. The last block is filled up with zeros.
    """
    rows = np.pad(weight.T, ((0, 0), (0, -len(weight) % BLOCK)))
    blocks = rows.reshape(weight.shape[1], -1, BLOCK)
    # The value of largest magnitude becomes -8, the one level that the positive side lacks.
    peak = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2, keepdims=True), axis=2)
    scales = np.where(peak == 0, 1.0, peak / -8).astype(np.float32)
    levels = np.clip(np.rint(blocks / scales) + 8, 0, 15).astype(np.uint8)
    return levels[..., 0::2] | (levels[..., 1::2] << 4), scales[..., 0]
