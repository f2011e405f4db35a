"""Keep the quantiser of a float product apart in an INT8 model for OpenVINO: the first convolution of the front end.

Where the weights are constant, OpenVINO joins the quantiser to the product, whose kernel writes floats all the same: a
reorder then makes integers of them. At base shape with layer norm, 32 000 frames of 512 channels for 10 s, it takes
twice as long as the product. Where the weights are computed, the quantiser stays an operator of its own, which takes a
third of the reorder's time. So the weights are multiplied by a one that OpenVINO cannot compute beforehand: the same
numbers.

1. Only float products of few rows of weights, because computed weights are packed again in every run.
2. Only where nothing but quantisers read the product, after a GELU or none: one operator, or the five of a file for
   engines that have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..bundle.spec import INPUT_LENGTHS
from ._library import library
from ._openvino_chains import GELU, constant_of, readers_of

if TYPE_CHECKING:
    from openvino import Model, Node, Output

_ROWS = 64


def quantize_apart(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of products."""
    operators = library("openvino.opset13")

    found = [node for node in model.get_ordered_ops() if _is_small_product(node) and _is_quantized(node)]
    for node in found:
        one = _one(model, node.input_value(0))
        node.input(1).replace_source_output(operators.multiply(node.input_value(1), one).output(0))
    return len(found)


def _is_small_product(node: Node) -> bool:
    """Rule 1."""
    if node.get_type_name() != "MatMul" or any(node.get_attributes().values()):
        return False
    weights = node.input_value(1).get_node()
    if weights.get_type_name() != "Constant" or weights.get_element_type().get_type_name() != "f32":
        return False
    values = constant_of(node.input_value(1))
    return values is not None and values.ndim == 2 and len(values) <= _ROWS


def _is_quantized(node: Node) -> bool:
    """Rule 2."""
    read, quantized = [node], False
    while read:
        for reader in readers_of(read.pop()):
            quantized = quantized or reader.get_type_name() == "FakeQuantize"
            if reader.get_type_name() in GELU:
                read.append(reader)
            elif reader.get_type_name() != "FakeQuantize":
                return False
    return quantized


def _one(model: Model, rows: Output) -> Node:
    """A one that is computed: the length of the longest clip, or the number of rows [batch, rows, width], at most one.

    The longest clip has at least one frame; others of its batch may have no sample. OpenVINO knows the number of rows
    beforehand where lengths are fixed, but never a length that is an input.
    """
    operators = library("openvino.opset13")

    given = next((node for node in model.get_parameters() if INPUT_LENGTHS in node.output(0).names), None)
    if given is None:
        count = operators.gather(operators.shape_of(rows, "i64"), np.array([1]), np.array(0))
    else:
        count = operators.reduce_max(given, np.array([0]), True)
    return operators.minimum(operators.convert(count, np.float32), np.float32(1))
