"""Join groups of a convolution over time whose channels are too few for OpenVINO's AMX kernels to compute them right.

With OpenVINO 2026.4 on a CPU with AMX:
a. 8 taps and more give wrong numbers in INT8 where groups have fewer than 32 channels, and in bfloat16 fewer than 16;
   not for every number of taps (in INT8: 16 channels and 8, 12, 16 … taps; 24 and 128). Those are the positional
   convolutions of small encoders: 384 channels in 16 groups.
b. 1 tap gives wrong numbers in INT8 where there are several groups of more than 64 channels, unless those are a
   multiple of 64, and for some odd numbers.

1. Only convolutions whose groups have 2 to 31 channels and at least 8 taps, or in INT8 several groups of more than 64
   channels, no multiple of 64, and 1 tap, on a CPU that has AMX.
2. Neighbouring groups become one, of at least 32 channels or a multiple of 64, whose weights from the channels of
   another group are zero: the same sums, of twice the products or more.
3. What cannot be joined, because there is one group or its weights are in another form, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ._library import library
from ._openvino_chains import constant_of, converted_of, take_place
from ._openvino_unsigned import cpu_flags

if TYPE_CHECKING:
    from openvino import Model, Node

Number = TypeVar("Number", np.int8, np.float32)

_LONG, _FEWEST = 8, 32
_BLOCK = 64


def needed(flags: frozenset[str] | None = None) -> bool:
    """Whether this CPU multiplies INT8 or bfloat16 with AMX; ``flags``: of the CPU, by default those of this one."""
    flags = cpu_flags() if flags is None else flags
    return bool(flags & {"amx_int8", "amx_bf16"})


def join_groups(model: Model, bfloat16: bool = False) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of convolutions.

    bfloat16: whether what is not INT8 will be computed in bfloat16, not in float32.
    Raises EngineError for those of rule 3.
    """
    found = [node for node in model.get_ordered_ops() if _is_wrong(node, bfloat16)]
    for node in found:
        groups, channels, taps = _groups(node), _channels(node), _taps(node)
        counts = [n for n in range(2, groups + 1) if groups % n == 0 and _enough(n * channels, taps)]
        weights = _joined_weights(node, counts[0]) if counts else None
        if weights is None:
            raise EngineError(
                f"openvino computes {node.get_friendly_name()} wrongly on this CPU: a convolution of {taps} "
                f"tap{'s' if taps > 1 else ''} and {channels} channels in a group, with AMX; use --engine onnxruntime"
            )
        _replace(node, weights)
    return len(found)


def _is_wrong(node: Node, bfloat16: bool) -> bool:
    """Rule 1."""
    if node.get_type_name() not in ("Convolution", "GroupConvolution"):
        return False
    shape = node.input_value(1).get_partial_shape()
    if len(node.get_attributes()["strides"]) != 1 or not shape.is_static:
        return False
    taps, channels = _taps(node), _channels(node)
    if taps >= _LONG:
        return channels > 1 and not _enough(channels, taps) and (bfloat16 or _integers(node) is not None)
    several = taps == 1 and _groups(node) > 1 and channels > _BLOCK
    return several and not _enough(channels, taps) and _integers(node) is not None


def _enough(channels: int, taps: int) -> bool:
    """Whether groups of so many channels are computed right."""
    return channels >= _FEWEST if taps >= _LONG else channels % _BLOCK == 0


def _taps(node: Node) -> int:
    return int(node.input_value(1).get_shape()[-1])


def _channels(node: Node) -> int:
    return int(node.input_value(1).get_shape()[-2])


def _groups(node: Node) -> int:
    return int(node.input_value(1).get_shape()[0]) if node.get_type_name() == "GroupConvolution" else 1


def _joined_weights(node: Node, count: int) -> Node | None:
    """Rule 2: the weights with every ``count`` groups as one; None where they are not as the bundle writes them."""
    operators = library("openvino.opset13")

    groups, outputs, channels, taps = node.input_value(1).get_shape()
    shape = (groups // count, count * outputs, count * channels, taps)
    real = constant_of(node.input_value(1))
    if real is not None:
        return operators.constant(_diagonal(real.astype(np.float32), shape, count))
    integers = _integers(node)
    scale = None if integers is None else constant_of(_before_reshape(node).input_value(1))
    if integers is None or scale is None:
        return None
    scales = np.broadcast_to(scale.reshape(-1), groups * outputs).reshape(*shape[:2], 1, 1).astype(np.float32)
    stored = operators.convert(operators.constant(_diagonal(integers, shape, count)), "f32")
    return operators.multiply(stored, operators.constant(scales))


def _integers(node: Node) -> NDArray[np.int8] | None:
    """The weights of a convolution in symmetric INT8, before they are reshaped; None where they are float."""
    weights = _before_reshape(node)
    real = converted_of(weights) if weights.get_type_name() == "Multiply" else None
    values = None if real is None else constant_of(real.input_value(0))
    return values.astype(np.int8) if values is not None and values.dtype == np.int8 else None


def _before_reshape(node: Node) -> Node:
    weights = node.input_value(1).get_node()
    while weights.get_type_name() == "Reshape":
        weights = weights.input_value(0).get_node()
    return weights


def _diagonal(values: NDArray[Number], shape: tuple[int, ...], count: int) -> NDArray[Number]:
    """Weights of ``shape`` [groups, outputs, channels, taps], zero but for the blocks of its ``count`` groups."""
    groups, outputs, channels, taps = shape
    blocks = values.reshape(groups, count, outputs // count, channels // count, taps)
    wide = np.zeros((groups, count, outputs // count, count, channels // count, taps), values.dtype)
    for index in range(count):
        wide[:, index, :, index] = blocks[:, index]
    return wide.reshape(shape)


def _replace(node: Node, weights: Node) -> None:
    operators = library("openvino.opset13")

    attributes = node.get_attributes()
    settings = [attributes[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")]
    take_place(node, operators.group_convolution(node.input_value(0), weights, *settings))
