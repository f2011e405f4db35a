"""Pad the input of a long convolution before it, in an INT8 model: OpenVINO then makes one kernel in place of many.

For a convolution that pads its input, OpenVINO makes a kernel for each number of taps that lie inside: some 130 for the
positional convolution of base shape (128 taps), anew for each length of a clip, and keeps them. With zeros put around
its input no tap lies outside. Sums are the same.

1. Only convolutions over time of 8 taps and more, which pad with zeros.
2. The zeros are added before the input is quantised, which keeps zero as it is (QDQ pairs do): OpenVINO moves padding
   right in front of a convolution back into it. Float models therefore stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._library import library
from ._openvino_chains import take_place

if TYPE_CHECKING:
    from openvino import Model, Node

_LONG = 8
_CHAIN = frozenset({"Convert", "Multiply", "Subtract"})
"""What dequantises, between the FakeQuantize and the convolution."""


def pad_before(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of convolutions whose padding was moved."""
    operators = library("openvino.opset13")

    moved = 0
    for node in model.get_ordered_ops():
        quantizer = _quantizer(node) if _pads(node) else None
        if quantizer is None:
            continue
        attributes = node.get_attributes()
        [begin], [end] = attributes["pads_begin"], attributes["pads_end"]
        wide = operators.pad(
            quantizer.input_value(0), np.array([0, 0, begin]), np.array([0, 0, end]), "constant", np.float32(0)
        )
        quantizer.input(0).replace_source_output(wide.output(0))
        make = operators.group_convolution if node.get_type_name() == "GroupConvolution" else operators.convolution
        values, weights = node.input_value(0), node.input_value(1)
        bare = make(values, weights, attributes["strides"], [0], [0], attributes["dilations"])
        take_place(node, bare)
        moved += 1
    return moved


def _pads(node: Node) -> bool:
    """Rule 1."""
    if node.get_type_name() not in ("Convolution", "GroupConvolution"):
        return False
    attributes = node.get_attributes()
    taps = node.input_value(1).get_partial_shape()[-1]
    one_axis = len(attributes["pads_begin"]) == 1
    explicit = attributes["auto_pad"] in ("explicit", "notset")
    padded = any(attributes["pads_begin"]) or any(attributes["pads_end"])
    return one_axis and explicit and padded and taps.is_static and taps.get_length() >= _LONG


def _quantizer(node: Node) -> Node | None:
    """The FakeQuantize of a convolution's input, which nothing else reads; None without."""
    source = node.input_value(0)
    while source.get_node().get_type_name() in _CHAIN and len(source.get_target_inputs()) == 1:
        source = source.get_node().input_value(0)
    quantizer = source.get_node()
    only = len(source.get_target_inputs()) == 1
    return quantizer if quantizer.get_type_name() == "FakeQuantize" and only else None
