"""Let linear layers of a symmetric INT8 model read unsigned numbers, which x86 multiplies in fewer instructions.

x86's integer instruction (VNNI) multiplies unsigned by signed bytes. With signed bytes on both sides OpenVINO adds 128
and subtracts it again inside every product: feed-forward blocks of base shape ran at 236 GOP/s that way, and at 394
with unsigned activations (one thread, AVX512-VNNI). Here the 128 is added once:

1. The input of a linear layer is quantised to 0 … 255 in place of -128 … 127: the same levels, 128 higher.
2. 128 times the sum of each output's weights is subtracted from the bias: the same sums up to rounding.
3. A tensor that anything but linear layers reads, after reshapes, slices, paddings and joins, stays as it is.
4. The output of a softmax is never negative: quantised to 0 … 255 with the same steps it has the same values.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._library import library
from ._openvino_chains import activation_scale, quantizer_of, source_of, weights_of

if TYPE_CHECKING:
    from openvino import Model, Node

_MOVES = frozenset({"Reshape", "Transpose", "Slice", "StridedSlice", "Pad", "Concat", "Squeeze", "Unsqueeze"})
_LEVELS = 256
_SHIFT = 128.0


def helps(flags: frozenset[str] | None = None) -> bool:
    """Whether this CPU multiplies unsigned by signed bytes only (VNNI, and no AMX, which takes signed ones as well).

    flags: of the CPU; by default those in /proc/cpuinfo. Where they cannot be read the answer is no: without VNNI
    unsigned activations could saturate.
    """
    flags = cpu_flags() if flags is None else flags
    return bool(flags & {"avx512_vnni", "avx_vnni"}) and "amx_int8" not in flags


def read_unsigned(model: Model) -> int:
    """Rewrite an ``openvino.Model`` in place; returns the number of linear layers that read unsigned numbers."""
    found: list[tuple[Node, list[tuple[Node, NDArray[np.float64]]], float]] = []
    for node in model.get_ordered_ops():
        if (scale := activation_scale(node)) is not None:
            sinks = _sinks(node)
            layers = [(sink, sums) for sink in sinks if (sums := _linear(sink)) is not None]
            if layers and len(layers) == len(sinks):
                found.append((node, layers, scale))
    for node, layers, scale in found:
        _replace(node, layers, scale)
    _probabilities(model)
    return sum(len(layers) for _, layers, _ in found)


def _probabilities(model: Model) -> None:
    """Rule 4."""
    operators = library("openvino.opset13")

    for node in model.get_ordered_ops():
        scale = activation_scale(node)
        source = source_of(quantizer_of(node), 0) if scale is not None else None
        if scale is None or source is None or source.get_type_name() != "Softmax":
            continue
        span = [operators.constant(np.float32(bound)) for bound in (0.0, 255.0 * scale)]
        _read_instead(node, operators.fake_quantize(source.output(0), *span, *span, _LEVELS))


def _replace(node: Node, layers: list[tuple[Node, NDArray[np.float64]]], scale: float) -> None:
    """Let linear layers, each with its sums of weights, read a dequantised activation unsigned."""
    operators = library("openvino.opset13")

    quantizer = quantizer_of(node)
    assert quantizer is not None, "it is the scale of a quantised activation"
    span = [operators.constant(np.float32(bound)) for bound in (0.0, 255.0 * scale)]
    reads = [quantizer.input_value(index) for index in range(3)]
    _read_instead(node, operators.fake_quantize(*reads, *span, _LEVELS))
    for sink, sums in layers:
        targets = list(sink.output(0).get_target_inputs())
        corrected = operators.add(sink.output(0), operators.constant((-_SHIFT * scale * sums).astype(np.float32)))
        for target in targets:
            target.replace_source_output(corrected.output(0))


def _read_instead(node: Node, unsigned: Node) -> None:
    """Connect all readers of an activation to its unsigned counterpart."""
    unsigned.set_friendly_name(f"{node.get_friendly_name()}/unsigned")
    for target in node.output(0).get_target_inputs():
        target.replace_source_output(unsigned.output(0))


def _sinks(node: Node) -> list[Node]:
    """The nodes that compute with a tensor, after operators that only move numbers."""
    found: list[Node] = []
    waiting = [node]
    while waiting:
        for target in waiting.pop().output(0).get_target_inputs():
            reader = target.get_node()
            if reader.get_type_name() == "ShapeOf":
                continue
            if reader.get_type_name() in _MOVES and (target.get_index() == 0 or reader.get_type_name() == "Concat"):
                waiting.append(reader)
            elif reader not in found:
                found.append(reader)
    return found


def _linear(node: Node) -> NDArray[np.float64] | None:
    """The sum of the weights of each output [outputs] of a MatMul with int8 weights; None for any other node."""
    weights = weights_of(node)
    if weights is None:
        return None
    stored, scales = weights
    sums: NDArray[np.float64] = stored.sum(axis=0, dtype=np.int32) * scales.reshape(-1).astype(np.float64)
    return sums


def cpu_flags() -> frozenset[str]:
    """The instruction sets that /proc/cpuinfo names; none where it cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())
