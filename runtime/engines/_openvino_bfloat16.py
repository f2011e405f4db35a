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

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._library import library
from ._openvino_chains import GELU, appends_a_one, constant_of, readers_of, source_of, take_place

if TYPE_CHECKING:
    from openvino import Model, Node, Output


@dataclass(frozen=True)
class _Shifted:
    """A product of rule 1: (rows with a one) · (weights; offset - mean)."""

    product: Node
    rows: Output
    weights: Output
    offset: Output
    mean: Output


def quantize_elementwise(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of products and quantisers."""
    nodes = model.get_ordered_ops()
    products = [shifted for node in nodes if (shifted := _shifted(node)) is not None]
    quantizers = [node for node in nodes if node.get_type_name() == "FakeQuantize" and _needs_conversion(node)]
    for shifted in products:
        _add_apart(shifted)
    for node in quantizers:
        _read_maximum(node)
    return len(products) + len(quantizers)


def _shifted(node: Node) -> _Shifted | None:
    """The parts of a product that computes its weights and their shift, and that only GELU reads; None for others."""
    rows, both = source_of(node, 0), source_of(node, 1)
    if node.get_type_name() != "MatMul" or any(node.get_attributes().values()) or rows is None or both is None:
        return None
    if both.get_type_name() != "Concat" or both.get_input_size() != 2 or not appends_a_one(rows):
        return None
    weights, shift = both.input_value(0), both.input_value(1).get_node()
    if shift.get_type_name() != "Subtract" or constant_of(shift.input_value(0)) is None:
        return None
    same = weights.get_partial_shape()[1] == rows.input_value(0).get_partial_shape()[2]
    if not same or not {reader.get_type_name() for reader in readers_of(node)} <= GELU:
        return None
    return _Shifted(node, rows.input_value(0), weights, shift.input_value(0), shift.input_value(1))


def _add_apart(shifted: _Shifted) -> None:
    operators = library("openvino.opset13")

    product = operators.matmul(shifted.rows, shifted.weights, False, False)
    take_place(shifted.product, operators.add(operators.subtract(product, shifted.mean), shifted.offset))


def _needs_conversion(node: Node) -> bool:
    """Rule 2: whether OpenVINO cannot compute a quantiser in the kernel of what it reads."""
    source = node.input_value(0)
    return len(source.get_target_inputs()) > 1 or source.get_node().get_type_name() == "Pad"


def _read_maximum(node: Node) -> None:
    operators = library("openvino.opset13")

    node.input(0).replace_source_output(operators.maximum(node.input_value(0), node.input_value(1)).output(0))
