"""Move INT8 numbers, not floats, in an INT8 model for OpenVINO.

OpenVINO carries INT8 through reshapes, slices and joins, but not through padding of a computed length, and everything
after such padding is then float: attention over blocks of frames ran in float32, and took 1.3 times as long at base
shape and 30 s. Here the numbers are dequantised after the operators that only move them:

1. Only activations in symmetric int8, with one scale, that are padded with zeros by a computed length. Zero is zero in
   both, so the numbers are the same.
2. The operators that move the padded numbers and nothing else (reshapes, slices, joins) read int8 too.

What a convolution reads is swapped from [frames, channels] to [channels, frames] and padded before it is quantised
(the positional convolution of an encoder). Here it is padded and quantised, and then swapped:

3. Only where the quantiser has one range for all channels. The numbers are the same.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from ._library import library
from ._openvino_chains import SWAP, activation_scale, constant_of, integers_of, quantizer_of, readers_of, source_of

if TYPE_CHECKING:
    from openvino import Input, Model, Node, Output

_MOVES = frozenset({"Pad", "Reshape", "Slice", "Concat"})


def move_integers(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of activations that are moved in INT8 now."""
    nodes = model.get_ordered_ops()
    found = [node for node in nodes if _is_padded(node)]
    for node in found:
        _dequantize_after_moves(node)
    swapped = sum(_swap_quantized(node) for node in nodes)
    if found or swapped:
        model.validate_nodes_and_infer_types()
    return len(found) + swapped


def _is_padded(node: Node) -> bool:
    """Rule 1."""
    return activation_scale(node) is not None and any(map(_pads_by_computed_lengths, readers_of(node)))


def _pads_by_computed_lengths(node: Node) -> bool:
    computed = node.get_type_name() == "Pad" and any(constant_of(node.input_value(index)) is None for index in (1, 2))
    return computed and _pads_with_zeros(node)


def _dequantize_after_moves(node: Node) -> None:
    """Let what moves the numbers of a dequantised activation read int8, and dequantise for everything else."""
    operators = library("openvino.opset13")

    stored = integers_of(node)
    assert stored is not None, "its scale is known"
    moving, ends = _followed(node)
    for target in node.output(0).get_target_inputs():
        if target.get_node() in moving:
            target.replace_source_output(stored.output(0))
    for each in moving:
        if each.get_type_name() == "Pad" and each.get_input_size() > 3:
            each.input(3).replace_source_output(operators.constant(np.int8(0)).output(0))
    for each, targets in ends:
        real = operators.multiply(operators.convert(each.output(0), "f32"), node.input_value(1))
        real.set_friendly_name(f"{each.get_friendly_name()}/dequantized")
        for target in targets:
            target.replace_source_output(real.output(0))


def _followed(node: Node) -> tuple[list[Node], list[tuple[Node, list[Input]]]]:
    """Rule 2: the nodes that move the numbers of ``node``, and for each of them what else reads it."""
    moving: list[Node] = []
    while reader := next((each for each in readers_of(node, *moving) if _moves(each, node, *moving)), None):
        moving.append(reader)
    ends = []
    for each in moving:
        targets = [t for t in each.output(0).get_target_inputs() if t.get_node() not in moving]
        targets = [target for target in targets if target.get_node().get_type_name() != "ShapeOf"]
        if targets:
            ends.append((each, targets))
    return moving, ends


def _moves(reader: Node, *nodes: Node) -> bool:
    """Whether a node does nothing but move the numbers of these nodes."""
    kind = reader.get_type_name()
    if kind not in _MOVES or (kind == "Pad" and not _pads_by_computed_lengths(reader)):
        return False
    data = range(reader.get_input_size()) if kind == "Concat" else (0,)
    return all(reader.input_value(index).get_node() in nodes for index in data)


def _swap_quantized(node: Node) -> bool:
    """Rule 3, for the node that ends the chain of an activation's quantiser and its dequantisation."""
    operators = library("openvino.opset13")

    quantizer = quantizer_of(node) if activation_scale(node) is not None else None
    if quantizer is None or not _leads_only_to(node, quantizer):
        return False
    pads: list[Node] = []
    source = source_of(quantizer, 0)
    while source is not None and source.get_type_name() == "Pad" and _is_read_once(source):
        pads.append(source)
        source = source_of(source, 0)
    if source is None or source.get_type_name() != "Transpose" or not all(map(_pads_with_zeros, pads)):
        return False
    order = constant_of(source.input_value(1))
    if order is None or order.tolist() != SWAP:
        return False
    values = source.input_value(0)
    if pads:
        ends = [_swapped([pad.input_value(index) for pad in pads]) for index in (1, 2)]
        values = operators.pad(values, *ends, "constant", np.float32(0)).output(0)
    quantizer.input(0).replace_source_output(values)
    targets = list(node.output(0).get_target_inputs())
    swapped = operators.transpose(node.output(0), np.array(SWAP))
    for target in targets:
        target.replace_source_output(swapped.output(0))
    return True


def _leads_only_to(end: Node, start: Node) -> bool:
    """Whether nothing reads the numbers between two nodes of a chain, which keep the layout of ``start``."""
    node = end
    while node != start:
        node = node.input_value(0).get_node()
        if not _is_read_once(node):
            return False
    return True


def _is_read_once(node: Node) -> bool:
    return len(node.output(0).get_target_inputs()) == 1


def _pads_with_zeros(node: Node) -> bool:
    value = constant_of(node.input_value(3)) if node.get_input_size() > 3 else np.zeros(1)
    return node.get_attributes()["pad_mode"] == "constant" and value is not None and not value.any()


def _swapped(ends: list[Output]) -> Node:
    """How much is padded at one end of each axis in all, after the swap."""
    operators = library("openvino.opset13")

    total = functools.reduce(operators.add, [operators.convert(each, "i64") for each in ends])
    return operators.gather(total, np.array(SWAP), np.array(0))
