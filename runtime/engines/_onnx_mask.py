"""Leave the mask out of a transformer's attention: for batches in which every clip has all the frames.

The mask that hides what was added behind a clip is 0 on the clip's own frames. Adding it there changes no number, but
reads and writes frames² numbers for each head of each layer.

1. An addition is left out only where a Softmax alone reads it, and what it adds is
   ``Where(frame < feature_lengths, 0, low)`` for the frames of the features, counted from 0 in steps of 1.
2. A mask that hides anything else, as that of local attention does by distance, stays.
"""

from __future__ import annotations

from ..bundle.spec import FEATURE_LENGTHS, FEATURES
from ._onnx_file import OnnxFile, OnnxNode

_RESHAPED = ("Unsqueeze", "Identity")
"""Operators whose output has the same numbers as their first input, in the same order."""
# fmt: off
_KEEPS_FRAMES = (
    "Add", "Mul", "MatMul", "LayerNormalization", "Cast", "Identity",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
)
# fmt: on
"""Operators whose output has the frames of their input: what lies between the features and the encoder's layers."""


def leave_out_mask(graph: OnnxFile) -> int:
    """Rewrite a graph of the stage ``encoder`` in place; returns the number of additions that were left out.

    Its results stay the same for features [batch, frames, channels] of which no clip has fewer frames.
    """
    count = 0
    for node in graph.nodes:
        if (scores := _added_to(graph, node)) is not None:
            [softmax] = graph.readers(node.output[0])
            softmax.input[0] = scores
            count += 1
    graph.refresh()
    return count


def _added_to(graph: OnnxFile, node: OnnxNode) -> str | None:
    """The scores that a node adds a mask to; None for any other node."""
    if node.op_type != "Add" or [reader.op_type for reader in graph.readers(node.output[0])] != ["Softmax"]:
        return None
    for scores, mask in (node.input, reversed(node.input)):
        if _hides_only_padding(graph, mask):
            return scores
    return None


def _hides_only_padding(graph: OnnxFile, mask: str) -> bool:
    where = graph.source(_origin(graph, mask), "Where")
    if where is None:
        return False
    inside, kept, low = where.input
    less = graph.source(_origin(graph, inside), "Less")
    lowest = graph.constant(_origin(graph, low))
    if less is None or not _is_constant(graph, kept, 0) or lowest is None or lowest.size != 1:
        return False
    frame, lengths = less.input
    return _origin(graph, lengths) == FEATURE_LENGTHS and _counts_frames(graph, _origin(graph, frame))


def _counts_frames(graph: OnnxFile, numbers: str) -> bool:
    """Whether a tensor is 0, 1, … up to the number of the features' frames."""
    counted = graph.source(numbers, "Range")
    if counted is None:
        return False
    first, end, step = counted.input
    cast = graph.source(end, "Cast")
    size = graph.source(end if cast is None else cast.input[0], "Gather")
    shape = None if size is None else graph.source(size.input[0], "Shape")
    if size is None or shape is None or not _is_constant(graph, size.input[1], 1):
        return False
    return _is_constant(graph, first, 0) and _is_constant(graph, step, 1) and _has_frames(graph, shape.input[0])


def _has_frames(graph: OnnxFile, tensor: str) -> bool:
    """Whether a tensor [batch, frames, …] has the frames of the features, of which alone it is computed."""
    if tensor == FEATURES:
        return True
    node = graph.source(tensor, *_KEEPS_FRAMES)
    computed = [] if node is None else [name for name in node.input if not _is_weight(graph, name)]
    return bool(computed) and all(_has_frames(graph, name) for name in computed)


def _is_weight(graph: OnnxFile, tensor: str) -> bool:
    """Whether a tensor is constant, or made of a constant that is stored in fewer bits."""
    node = graph.source(tensor, "DequantizeLinear", "Cast")
    return graph.shape(tensor if node is None else node.input[0]) is not None


def _origin(graph: OnnxFile, tensor: str) -> str:
    """The tensor whose numbers a tensor has."""
    while (node := graph.source(tensor, *_RESHAPED)) is not None:
        tensor = node.input[0]
    return tensor


def _is_constant(graph: OnnxFile, tensor: str, value: int) -> bool:
    values = graph.constant(_origin(graph, tensor))
    return values is not None and values.size == 1 and bool(values.item() == value)
