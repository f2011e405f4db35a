"""Copy fewer numbers between the operators of an INT8 model for OpenVINO: 2 % of the time at base shape.

1. Keys are transposed by their product with the queries. OpenVINO's fused attention moves queries and values as it
   reads them, but not keys whose last two axes are swapped in front of the product: they were copied number by number,
   and are now copied by rows of a head.
2. What is cut off behind a convolution is cut off behind its GELU, which OpenVINO then computes in the convolution: the
   positional one of an encoder, whose frames it holds in another order.
3. The windows of a convolution that is written as a product (calibration/passes/channels_last.py) are gathered at once,
   not sliced, padded and joined. Where a window goes beyond the last frame, it has that frame again in place of zeros:
   such a window is none of the clip's, and what is made of it is cut off at the features.

All other numbers are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._library import library
from ._openvino_chains import GELU, constant_of, readers_of, source_of, take_place
from ._openvino_windows import windows_of

if TYPE_CHECKING:
    from openvino import Model, Node

_KEYS, _HEADS = [0, 2, 3, 1], [0, 2, 1, 3]
"""How keys [batch, frames, heads, size] are transposed for their product, and how queries are."""
_FEWEST = 64
"""Channels: gathering fewer at a time is slower."""


def spare_copies(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of places."""
    found = [(node, rewrite) for node in model.get_ordered_ops() if (rewrite := _REWRITES.get(node.get_type_name()))]
    count = sum(rewrite(node) for node, rewrite in found)
    if count:
        model.validate_nodes_and_infer_types()
    return count


def _transpose_in_product(product: Node) -> bool:
    """Rule 1."""
    operators = library("openvino.opset13")

    keys = source_of(product, 1)
    if keys is None or keys.get_type_name() != "Transpose" or any(product.get_attributes().values()):
        return False
    order = constant_of(keys.input_value(1))
    if order is None or order.tolist() != _KEYS or len(list(readers_of(keys))) > 1:
        return False
    moved = operators.transpose(keys.input_value(0), np.array(_HEADS))
    moved.set_friendly_name(keys.get_friendly_name())
    take_place(product, operators.matmul(product.input_value(0), moved.output(0), False, True))
    return True


def _cut_after_activation(cut: Node) -> bool:
    """Rule 2."""
    operators = library("openvino.opset13")

    whole, activation = cut.input_value(0), _activation_of(cut)
    if activation is None or not _is_convolution(whole.get_node()):
        return False
    targets = list(activation.output(0).get_target_inputs())
    for target in list(cut.output(0).get_target_inputs()):
        target.replace_source_output(whole)
    bounds = [cut.input_value(index) for index in range(1, cut.get_input_size())]
    later = operators.slice(activation.output(0), *bounds)
    later.set_friendly_name(cut.get_friendly_name())
    for target in targets:
        target.replace_source_output(later.output(0))
    return True


def _activation_of(node: Node) -> Node | None:
    """The last of the operators of a GELU that reads a node, where nothing else reads it; or None."""
    chain = [node]
    while following := next((each for each in readers_of(*chain) if _continues(each, chain)), None):
        chain.append(following)
    ends = [each for each in chain if any(reader not in chain for reader in readers_of(each))]
    return chain[-1] if len(chain) > 1 and ends == chain[-1:] else None


def _continues(reader: Node, chain: list[Node]) -> bool:
    """Whether a node is an operator of a GELU of numbers of the chain alone."""
    inputs = [reader.input_value(index) for index in range(reader.get_input_size())]
    return reader.get_type_name() in GELU and all(
        each.get_node() in chain or ((constant := constant_of(each)) is not None and constant.size == 1)
        for each in inputs
    )


def _is_convolution(node: Node) -> bool:
    """Whether a node is a convolution, with or without a bias."""
    if node.get_type_name() == "Add" and constant_of(node.input_value(1)) is not None:
        node = node.input_value(0).get_node()
    return node.get_type_name() in ("Convolution", "GroupConvolution")


def _gather_windows(joined: Node) -> bool:
    """Rule 3."""
    operators = library("openvino.opset13")

    windows = windows_of(joined)
    if windows is None or windows.channels < _FEWEST:
        return False
    frames, stride, taps = windows.frames, windows.stride, windows.taps
    count = operators.gather(operators.shape_of(frames, "i32"), np.array([1], np.int32), np.int32(0))
    number = operators.squeeze(operators.divide(count, np.int32(stride)), np.array([0]))
    first = operators.multiply(operators.range(np.int32(0), number, np.int32(1), "i32"), np.int32(stride))
    each = operators.add(operators.unsqueeze(first, np.array([1])), np.arange(taps, dtype=np.int32)[None])
    within = operators.minimum(each, operators.subtract(count, np.int32(1)))
    gathered = operators.gather(frames, within, np.int32(1))
    take_place(joined, operators.reshape(gathered.output(0), np.array([0, -1, taps * windows.channels]), True))
    return True


_REWRITES = {"MatMul": _transpose_in_product, "Slice": _cut_after_activation, "Concat": _gather_windows}
