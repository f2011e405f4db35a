"""Write the front end's products over windows as convolutions again, in an INT8 model for one clip of a fixed length.

OpenVINO's convolutions gather no windows and have a faster kernel than its products. They read [channels, frames] but
hold that in memory as [frames, channels], so the transposes around them move nothing. OpenVINO leaves such transposes
out where every length is fixed. Where lengths vary it computes them, which takes as long as the convolutions: then the
products stay (calibration/passes/channels_last.py). At base shape the front end takes 0.94 of the time.

1. Only products of INT8 weights and windows over frames of at least 512 channels, as at base shape. What smaller front
   ends gain is less than compiling them takes, but for hours of speech.
2. Biases that follow are added before the second transpose, where OpenVINO computes them in the convolution.
3. The last product stays: with bfloat16 OpenVINO would round its result. Frames that fill no window are cut off.
4. The first convolution's windows of the waveform are gathered by positions that are constant now, together with the
   one that is appended to each: with layer norm 0.8 ms less for 10 s.
5. The same numbers to the last bit, with the engine's settings for fixed lengths. Windows that go beyond the last frame
   or sample are missing, or have it again; they are none of the clip's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._library import library
from ._openvino_chains import SWAP, appends_a_one, constant_of, readers_of, take_place, weights_of
from ._openvino_windows import Windows, windows_of

if TYPE_CHECKING:
    from openvino import Model, Node, PartialShape

_FEWEST = 512
"""Channels."""


@dataclass(frozen=True)
class _Product:
    """A product of rule 1."""

    node: Node
    windows: Windows
    weights: NDArray[np.int8]
    """[taps · channels, outputs]."""
    scales: NDArray[np.generic]
    """Of the weights, one or [outputs]."""


def gains(model: Model) -> bool:
    """Whether a fixed length makes convolutions of products."""
    return len(_products(model)) > 1


def fix_length(model: Model, samples: int) -> int:
    """Rewrite an ``openvino.Model`` that ``gains``, in place, for one clip [1, samples]; returns the convolutions."""
    *convolutions, last = _products(model)
    for product in convolutions:
        _convolve(product)
    _cut(last.windows)
    model.reshape({port: _one_clip(port.get_partial_shape(), samples) for port in model.inputs})
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Concat":
            _gather_samples(node)
    model.validate_nodes_and_infer_types()
    return len(convolutions)


def _products(model: Model) -> list[_Product]:
    """Rule 1, in order."""
    return [product for node in model.get_ordered_ops() if (product := _product(node)) is not None]


def _product(node: Node) -> _Product | None:
    weights = weights_of(node)
    windows = None if weights is None else windows_of(node.input_value(0).get_node())
    if weights is None or windows is None or windows.channels < _FEWEST:
        return None
    return _Product(node, windows, *weights)


def _one_clip(shape: PartialShape, samples: int) -> list[int]:
    """The shape of an input: samples [1, samples], lengths [1], statistics [1, 1, channels], as many as there are."""
    return {1: [1], 2: [1, samples]}.get(len(shape), [1, 1, -1])


def _convolve(product: _Product) -> None:
    operators = library("openvino.opset13")

    windows = product.windows
    turned = operators.transpose(windows.frames, np.array(SWAP))
    result = operators.convolution(turned, _by_tap(product), [windows.stride], [0], [0], [1])
    last = product.node
    while (bias := _bias_after(last)) is not None:
        last, values = bias
        result = operators.add(result, operators.constant(values))
    take_place(last, operators.transpose(result, np.array(SWAP)))


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


def _gather_samples(joined: Node) -> None:
    """Rule 4, for a node that holds windows of single samples; the lengths are fixed by now."""
    operators = library("openvino.opset13")

    windows = windows_of(joined)
    if windows is None or windows.channels != 1:
        return
    count = windows.frames.get_partial_shape()[1].get_length()
    starts = np.arange(0, count, windows.stride)[:, None]
    positions = np.minimum(starts + np.arange(windows.taps), count - 1)
    samples = operators.squeeze(windows.frames, np.array([2]))
    readers = list(readers_of(joined))
    if len(readers) == 1 and appends_a_one(readers[0]):
        joined = readers[0]
        samples = operators.concat([samples, operators.constant(np.ones((1, 1), np.float32))], 1)
        positions = np.hstack([positions, np.full_like(starts, count)])
    take_place(joined, operators.gather(samples, positions.astype(np.int32), np.int32(1)))


def _by_tap(product: _Product) -> Node:
    """The weights of a product as those of a convolution [outputs, channels, taps]."""
    operators = library("openvino.opset13")

    windows = product.windows
    by_tap = product.weights.reshape(windows.taps, windows.channels, -1).transpose(2, 1, 0)
    scales = np.broadcast_to(product.scales.reshape(-1), len(by_tap)).reshape(-1, 1, 1).astype(np.float32)
    stored = operators.convert(operators.constant(np.ascontiguousarray(by_tap)), "f32")
    return operators.multiply(stored, operators.constant(scales))


def _bias_after(node: Node) -> tuple[Node, NDArray[np.float32]] | None:
    """Rule 2: what adds a bias to a node, if nothing else reads it, and the bias [1, outputs, 1]."""
    readers = list(readers_of(node))
    if len(readers) != 1 or readers[0].get_type_name() != "Add":
        return None
    values = [constant_of(readers[0].input_value(index)) for index in (0, 1)]
    bias = next((value for value in values if value is not None and value.size > 1), None)
    return None if bias is None else (readers[0], bias.reshape(1, -1, 1).astype(np.float32))
