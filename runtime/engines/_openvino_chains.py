"""How an OpenVINO model holds quantised activations: FakeQuantize, int8, float, minus a zero point, times a scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from openvino import Node, Output


GELU = frozenset({"Gelu", "Divide", "Erf", "Add", "Multiply"})
"""GELU, and what it is written as without that operator: 0.5 x (1 + erf(x / sqrt 2))."""
SWAP = [0, 2, 1]
"""How [batch, frames, channels] is transposed to [batch, channels, frames], and back."""


def activation_scale(node: Node) -> float | None:
    """The scale of a dequantised activation, a Multiply in symmetric int8 with one scale; None for any other node."""
    quantizer = quantizer_of(node) if node.get_type_name() == "Multiply" else None
    scale = None if quantizer is None else constant_of(node.input_value(1))
    if quantizer is None or scale is None or scale.size != 1:
        return None
    bounds = [constant_of(quantizer.input_value(index)) for index in range(1, 5)]
    if any(bound is None or bound.size != 1 for bound in bounds):
        return None
    signed = [float(np.reshape(bound, -1)[0]) for bound in bounds[2:] if bound is not None] == [-128.0, 127.0]
    return float(scale.reshape(-1)[0]) if signed else None


def quantizer_of(node: Node) -> Node | None:
    """The FakeQuantize before the chain int8 → float → minus zero → Multiply; None where it is another chain."""
    integers = integers_of(node)
    quantizer = None if integers is None else source_of(integers, 0)
    return quantizer if quantizer is not None and quantizer.get_type_name() == "FakeQuantize" else None


def integers_of(node: Node) -> Node | None:
    """The node that writes the integers of that chain; None where it is another chain."""
    real = converted_of(node)
    integers = None if real is None else source_of(real, 0)
    return integers if integers is not None and integers.get_type_name() == "Convert" else None


def converted_of(node: Node) -> Node | None:
    """The Convert from integers before a Multiply by the scale, with a zero point of zero between or none; or None."""
    real = source_of(node, 0)
    if real is not None and real.get_type_name() == "Subtract":
        zero = constant_of(real.input_value(1))
        if zero is None or zero.any():
            return None
        real = source_of(real, 0)
    return real if real is not None and real.get_type_name() == "Convert" else None


def weights_of(product: Node) -> tuple[NDArray[np.int8], NDArray[np.generic]] | None:
    """The weights [inputs, outputs] of a MatMul in symmetric int8, and their scales; None for any other node."""
    if product.get_type_name() != "MatMul" or any(product.get_attributes().values()):
        return None
    weights = source_of(product, 1)
    if weights is None or weights.get_type_name() != "Multiply":
        return None
    scales, real = constant_of(weights.input_value(1)), converted_of(weights)
    stored = None if real is None else constant_of(real.input_value(0))
    if scales is None or stored is None or stored.dtype != np.int8 or stored.ndim != 2:
        return None
    return stored.astype(np.int8, copy=False), scales


def appends_a_one(node: Node) -> bool:
    """Whether rows [batch, rows, width] get one more number each, a one."""
    if node.get_type_name() != "Pad" or node.get_input_size() != 4:
        return False
    values = [constant_of(node.input_value(index)) for index in (1, 2, 3)]
    wanted = ([0, 0, 0], [0, 0, 1], [1])
    return all(found is not None and found.reshape(-1).tolist() == want for found, want in zip(values, wanted))


def source_of(node: Node, index: int) -> Node | None:
    """The node whose output an input reads; None where the node has fewer inputs."""
    return node.input_value(index).get_node() if node.get_input_size() > index else None


def constant_of(output: Output) -> NDArray[np.generic] | None:
    """The numbers of a constant before reshapes and conversions; None where it is computed."""
    node = output.get_node()
    while node.get_type_name() in ("Reshape", "Convert"):
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None


def readers_of(*nodes: Node) -> Iterator[Node]:
    """What reads the nodes, each once, without the nodes themselves."""
    found = dict.fromkeys(target.get_node() for node in nodes for target in node.output(0).get_target_inputs())
    return (reader for reader in found if reader not in nodes)


def take_place(node: Node, other: Node) -> None:
    """Let everything that reads a node read another in its place, which gets its name."""
    other.set_friendly_name(node.get_friendly_name())
    for target in list(node.output(0).get_target_inputs()):
        target.replace_source_output(other.output(0))
