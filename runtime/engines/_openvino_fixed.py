"""Write the front end's products over windows as convolutions again, in an INT8 model for one clip of a fixed length.

OpenVINO's convolutions gather no windows and have a faster kernel than its products. They read [channels, frames] but
hold that in memory as [frames, channels], so the transposes around them move nothing. OpenVINO leaves such transposes
out where every length is fixed. Where lengths vary it computes them, which takes as long as the convolutions: then the
products stay (calibration/passes/channels_last.py). At base shape the front end takes 0.94 of the time.

1. Only products of INT8 weights and windows over frames of at least 512 channels, as at base shape. What smaller front
   ends gain is less than compiling them takes, but for hours of speech.
2. Biases that follow are added before the second transpose, where OpenVINO computes them in the convolution.
3. The last product stays: with bfloat16 OpenVINO would round its result. Frames that fill no window are cut off.
4. The same numbers to the last bit, with the engine's settings for fixed lengths. Windows that go beyond the last frame
   are missing; they are none of the clip's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._library import library
from ._openvino_chains import constant_of, converted_of, readers_of, take_place
from ._openvino_windows import Windows, windows_of

if TYPE_CHECKING:
    from openvino import Model, Node, PartialShape

_SWAP = [0, 2, 1]
"""Between [batch, frames, channels] and [batch, channels, frames]."""
_FEWEST = 512
"""Channels."""


def gains(model: Model) -> bool:
    """Whether a fixed length makes convolutions of products."""
    return len(_found(model)) > 1


def fix_length(model: Model, samples: int) -> int:
    """Rewrite an ``openvino.Model`` of a front end in place, for one clip [1, samples]; returns the convolutions."""
    found = _found(model)
    for product, windows in found[:-1]:
        _convolve(product, windows)
    for _, windows in found[-1:]:
        _cut(windows)
    model.reshape({port: _one_clip(port.get_partial_shape(), samples) for port in model.inputs})
    return len(found[:-1])


def _found(model: Model) -> list[tuple[Node, Windows]]:
    """Rule 1: the products and their windows, in order."""
    return [(node, windows) for node in model.get_ordered_ops() if (windows := _windows(node)) is not None]


def _one_clip(shape: PartialShape, samples: int) -> list[int]:
    """The shape of an input: samples [1, samples], lengths [1], statistics [1, 1, channels], as many as there are."""
    return {1: [1], 2: [1, samples]}.get(len(shape), [1, 1, -1])


def _windows(product: Node) -> Windows | None:
    """The windows of a product of rule 1; None for any other node."""
    if product.get_type_name() != "MatMul" or any(product.get_attributes().values()):
        return None
    weights = product.input_value(1).get_node()
    real = converted_of(weights) if weights.get_type_name() == "Multiply" else None
    stored = None if real is None else constant_of(real.input_value(0))
    if stored is None or stored.dtype != np.int8 or constant_of(weights.input_value(1)) is None:
        return None
    windows = windows_of(product.input_value(0).get_node())
    return windows if windows is not None and windows.channels >= _FEWEST else None


def _convolve(product: Node, windows: Windows) -> None:
    operators = library("openvino.opset13")

    turned = operators.transpose(windows.frames, np.array(_SWAP))
    result = operators.convolution(turned, _weights(product, windows), [windows.stride], [0], [0], [1])
    last = product
    while (bias := _bias_after(last)) is not None:
        last, values = bias
        result = operators.add(result, operators.constant(values))
    take_place(last, operators.transpose(result, np.array(_SWAP)))


def _cut(windows: Windows) -> None:
    """Rule 3."""
    operators = library("openvino.opset13")

    readers = list(windows.frames.get_target_inputs())
    stride = np.array([windows.stride], np.int32)
    count = operators.gather(operators.shape_of(windows.frames, "i32"), np.array([1], np.int32), np.int32(0))
    end = operators.multiply(operators.divide(count, stride), stride)
    one = np.array([1], np.int32)
    cut = operators.slice(windows.frames, np.array([0], np.int32), end, one, one)
    for reader in readers:
        reader.replace_source_output(cut.output(0))


def _weights(product: Node, windows: Windows) -> Node:
    """The weights [taps · channels, outputs] of a product as those of a convolution [outputs, channels, taps]."""
    operators = library("openvino.opset13")

    scaled = product.input_value(1).get_node()
    real = converted_of(scaled)
    assert real is not None, "windows are of products of INT8 weights"
    stored, scales = constant_of(real.input_value(0)), constant_of(scaled.input_value(1))
    assert stored is not None and scales is not None
    by_tap = stored.reshape(windows.taps, windows.channels, -1).transpose(2, 1, 0)
    each = np.broadcast_to(scales.reshape(-1), len(by_tap)).reshape(-1, 1, 1).astype(np.float32)
    return operators.multiply(
        operators.convert(operators.constant(np.ascontiguousarray(by_tap)), "f32"), operators.constant(each)
    )


def _bias_after(node: Node) -> tuple[Node, NDArray[np.float32]] | None:
    """Rule 2: what adds a bias to a node, if nothing else reads it, and the bias [1, outputs, 1]."""
    readers = list(readers_of(node))
    if len(readers) != 1 or readers[0].get_type_name() != "Add":
        return None
    values = [constant_of(readers[0].input_value(index)) for index in (0, 1)]
    bias = next((value for value in values if value is not None and value.size > 1), None)
    return None if bias is None else (readers[0], bias.reshape(1, -1, 1).astype(np.float32))
