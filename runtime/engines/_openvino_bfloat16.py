"""Let element-wise kernels quantise in an INT8 model whose other operators are in bfloat16, for OpenVINO.

OpenVINO's quantiser reads only float32, so that a conversion comes before it. A product that computes its weights
writes float32 too where a quantiser is joined to it, and a slow reorder makes integers of them. A kernel of
element-wise operators reads bfloat16 and writes integers:

1. The first product with group norm, of windows with a one and weights with a shift for each clip, which is a constant
   less the scaled mean: both are added to the product of the windows by operators of their own, whose kernel computes
   GELU and quantises too. At base shape the front end takes 0.97 of the time. Added in one, the shift would be rounded
   to bfloat16 where the length is fixed and not where it varies, so that live captions would have other features.
2. A quantiser that is not the only reader of its input, or that reads padding, reads the maximum of that and its own
   lower end, which is the same number. With norms after the residual sums (group norm) the encoder takes 0.995 of the
   time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._library import library
from ._openvino_chains import GELU, appends_a_one, constant_of, readers_of, source_of, take_place

if TYPE_CHECKING:
    from openvino import Model, Node


def quantize_elementwise(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of products and quantisers."""
    nodes = model.get_ordered_ops()
    products = [node for node in nodes if _adds_a_shift(node)]
    quantizers = [node for node in nodes if node.get_type_name() == "FakeQuantize" and _needs_conversion(node)]
    for node in products:
        _add_apart(node)
    for node in quantizers:
        _read_maximum(node)
    return len(products) + len(quantizers)


def _adds_a_shift(node: Node) -> bool:
    """Rule 1: whether rows that end with a one are multiplied by computed weights that end with a shift."""
    rows, weights = source_of(node, 0), source_of(node, 1)
    if node.get_type_name() != "MatMul" or any(node.get_attributes().values()) or rows is None or weights is None:
        return False
    if weights.get_type_name() != "Concat" or weights.get_input_size() != 2 or not appends_a_one(rows):
        return False
    shift = weights.input_value(1).get_node()
    if shift.get_type_name() != "Subtract" or constant_of(shift.input_value(0)) is None:
        return False
    same = weights.input_value(0).get_partial_shape()[1] == rows.input_value(0).get_partial_shape()[2]
    return same and {reader.get_type_name() for reader in readers_of(node)} <= GELU


def _add_apart(node: Node) -> None:
    operators = library("openvino.opset13")

    rows, weights = source_of(node, 0), source_of(node, 1)
    assert rows is not None and weights is not None
    product = operators.matmul(rows.input_value(0), weights.input_value(0), False, False)
    shift = weights.input_value(1).get_node()
    centred = operators.subtract(product, shift.input_value(1))
    take_place(node, operators.add(centred, shift.input_value(0)))


def _needs_conversion(node: Node) -> bool:
    """Rule 2: whether OpenVINO cannot compute a quantiser in the kernel of what it reads."""
    source = node.input_value(0)
    return len(source.get_target_inputs()) > 1 or source.get_node().get_type_name() == "Pad"


def _read_maximum(node: Node) -> None:
    operators = library("openvino.opset13")

    node.input(0).replace_source_output(operators.maximum(node.input_value(0), node.input_value(1)).output(0))
