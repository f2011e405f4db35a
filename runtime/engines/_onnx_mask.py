"""Leave the mask out of a transformer's attention: for batches in which every clip has all the frames.

The mask that hides what was added behind a clip is 0 on the clip's own frames. Adding it there changes no number, but
reads and writes frames² numbers for each head of each layer.

1. Only an addition that a Softmax alone reads, of ``Where(frame < feature_lengths, 0, …)`` with frames counted from 0
   by 1.
2. A mask that hides anything else, as that of local attention does by distance, stays.
"""

from __future__ import annotations

from ..bundle.spec import FEATURE_LENGTHS
from ._onnx_file import OnnxFile, OnnxNode

_SAME_NUMBERS = ("Unsqueeze", "Identity", "Cast")
"""Operators that hand on their first input's numbers in another shape or type."""


def leave_out_mask(graph: OnnxFile) -> int:
    """Rewrite a graph of the stage ``encoder`` in place; returns the number of additions that were left out.

    Its results stay the same for features [batch, frames, channels] of which no clip has fewer frames.
    """
    scores = {}
    for node in graph.nodes:
        if (added_to := _added_to(graph, node)) is not None:
            scores[node.output[0]] = added_to
    for node in graph.nodes:
        for place, name in enumerate(node.input):
            if name in scores:
                node.input[place] = scores[name]
    graph.refresh()
    return len(scores)


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
    inside, kept, _ = where.input
    less = graph.source(_origin(graph, inside), "Less")
    if less is None or not _is_constant(graph, kept, 0):
        return False
    frame, lengths = less.input
    numbers = graph.source(_origin(graph, frame), "Range")
    if numbers is None or _origin(graph, lengths) != FEATURE_LENGTHS:
        return False
    first, _, step = numbers.input
    return _is_constant(graph, first, 0) and _is_constant(graph, step, 1)


def _origin(graph: OnnxFile, tensor: str) -> str:
    """The tensor whose numbers a tensor has."""
    while node := next((node for kind in _SAME_NUMBERS if (node := graph.source(tensor, kind))), None):
        tensor = node.input[0]
    return tensor


def _is_constant(graph: OnnxFile, tensor: str, value: int) -> bool:
    values = graph.constant(_origin(graph, tensor))
    return values is not None and bool((values == value).all())
