"""Attention as ONNX Runtime's one operator for it, which computes in blocks that stay in the L2 cache.

Scores, softmax and mixed values as separate operators read and write frames² numbers for each head; for 30 s they take
two thirds of the embedded model's time in FP32 (benchmarks/attention.py). The numbers are the same, up to rounding.

1. Queries, keys and values in FP32, each ``Transpose(Reshape(projection))`` to [batch, heads, frames, size] (keys with
   frames last), of all heads at once or in groups of heads (``calibration/passes/head_groups.py``).
2. Scores may be multiplied by a constant; not by 0, which the operator takes for its default. With anything added to
   them, as relative positions, a local attention's mask or one for padding, attention stays as it is: the operator
   then computes no blocks.
3. Where ONNX Runtime does not know the size of the L2 cache (``computes_blocks``) nothing is gained.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ._onnx_file import OnnxFile, OnnxNode, integer

_LEVEL2_CACHE_SIZE = 191
"""Of sysconf in the GNU C library, in bytes; Python has no name for it."""
_HEAD_AXIS = 1
_BY_HEAD = (0, 2, 1, 3)
_OPERANDS = (_BY_HEAD, (0, 2, 3, 1), _BY_HEAD)
"""How [batch, frames, heads, size] is transposed to queries, keys and values."""


@dataclass(frozen=True)
class _Group:
    """The attention of the heads from ``first`` up to ``end``; None: all."""

    operands: tuple[str, str, str]
    """Queries, keys and values of all heads."""
    first: int
    end: int | None
    factor: float


def computes_blocks() -> bool:
    """Whether the operator computes blocks here; else it keeps the scores of all heads.

    It asks the C library for the size of the L2 cache, and that of Linux does not know it on many ARM processors:
    https://github.com/microsoft/onnxruntime/issues/29613
    """
    if sys.platform != "linux":
        return True
    try:
        return os.sysconf(_LEVEL2_CACHE_SIZE) > 0
    except (OSError, ValueError):
        return False


def join_attention(graph: OnnxFile) -> int:
    """Rewrite a graph in place; returns the number of attentions that are one operator now."""
    return sum(_rewrite(graph, node) for node in graph.nodes if node.op_type == "Reshape")


def _rewrite(graph: OnnxFile, result: OnnxNode) -> bool:
    """Turn the Reshape of mixed values [batch, frames, heads, size] into the operator; returns whether it did."""
    groups = _groups(graph, result)
    read = {(group.operands, group.factor) for group in groups}
    if len(read) != 1:
        return False
    [(operands, factor)] = read
    found = [_projection(graph, name, perm) for name, perm in zip(operands, _OPERANDS)]
    projections = [projection for projection in found if projection is not None]
    counts = {heads for _, heads in projections}
    if len(projections) < len(found) or len(counts) != 1:
        return False
    [heads] = counts
    if not _follow(groups, heads):
        return False
    inputs = [name for name, _ in projections]
    graph.turn_into(result, "MultiHeadAttention", inputs, num_heads=heads, scale=factor)
    return True


def _groups(graph: OnnxFile, result: OnnxNode) -> list[_Group]:
    """The groups of heads whose mixed values a Reshape joins; none where any of it is something else."""
    by_frame = _transposed(graph, result.input[0], _BY_HEAD)
    if by_frame is None or _numbers(graph, result.input[1]) != (0, 0, -1):
        return []
    concat = graph.source(by_frame, "Concat")
    mixed = [by_frame] if concat is None or integer(concat, "axis") != _HEAD_AXIS else concat.input
    groups = [group for name in mixed if (group := _group(graph, name)) is not None]
    return groups if len(groups) == len(mixed) else []


def _group(graph: OnnxFile, mixed: str) -> _Group | None:
    """The attention that gives mixed values [batch, heads, frames, size]."""
    product = graph.source(mixed, "MatMul")
    softmax = None if product is None else graph.source(product.input[0], "Softmax")
    if product is None or softmax is None or integer(softmax, "axis") not in (-1, 3):
        return None
    scores, factor = softmax.input[0], 1.0
    if (scaled := graph.source(scores, "Mul")) is not None:
        constant = graph.constant(scaled.input[1])
        if constant is None or constant.size != 1:
            return None
        scores, factor = scaled.input[0], float(constant.item())
        if factor == 0 or not math.isfinite(factor):
            return None
    compared = graph.source(scores, "MatMul")
    if compared is None:
        return None
    sliced = [_sliced(graph, name) for name in (*compared.input, product.input[1])]
    (queries, first, end), (keys, *of_keys), (values, *of_values) = sliced
    if [first, end] != of_keys or [first, end] != of_values:
        return None
    return _Group((queries, keys, values), first, end, factor)


def _sliced(graph: OnnxFile, tensor: str) -> tuple[str, int, int | None]:
    """A tensor of all heads, and those of them that a tensor holds."""
    node = graph.source(tensor, "Slice")
    if node is None or len(node.input) != 4:
        return tensor, 0, None
    first, end, axis = (_numbers(graph, name) for name in node.input[1:])
    if first is None or end is None or axis != (_HEAD_AXIS,):
        return tensor, 0, None
    return node.input[0], first[0], end[0]


def _follow(groups: Sequence[_Group], heads: int) -> bool:
    """Whether groups are all heads, in order."""
    ends = [heads if group.end is None else group.end for group in groups]
    if any(group.first >= end for group, end in zip(groups, ends)):
        return False
    return [group.first for group in groups] == [0, *ends[:-1]] and ends[-1] == heads


def _projection(graph: OnnxFile, tensor: str, perm: tuple[int, ...]) -> tuple[str, int] | None:
    """The tensor [batch, frames, heads · size] that was cut into heads, and how many there are."""
    cut = _transposed(graph, tensor, perm)
    reshape = None if cut is None else graph.source(cut, "Reshape")
    shape = None if reshape is None else _numbers(graph, reshape.input[1])
    if reshape is None or shape is None or len(shape) != 4 or shape[:2] != (0, 0) or integer(reshape, "allowzero"):
        return None
    _, _, heads, size = shape
    if heads > 0 and size != 0:
        return reshape.input[0], heads
    width = _width(graph, reshape.input[0])
    if width is None or size <= 1 or width % size:  # a bias of one number says nothing of the width
        return None
    return reshape.input[0], width // size


def _width(graph: OnnxFile, projection: str) -> int | None:
    """The last axis of a linear layer's result, which its bias has."""
    add = graph.source(projection, "Add")
    shapes = () if add is None else [shape for name in add.input if (shape := graph.shape(name)) is not None]
    return shapes[0][-1] if shapes and len(shapes[0]) == 1 else None


def _transposed(graph: OnnxFile, tensor: str, perm: tuple[int, ...]) -> str | None:
    """What a Transpose of these axes reads."""
    node = graph.source(tensor, "Transpose")
    found = () if node is None else next((tuple(entry.ints) for entry in node.attribute if entry.name == "perm"), ())
    return node.input[0] if node is not None and found == perm else None


def _numbers(graph: OnnxFile, tensor: str) -> tuple[int, ...] | None:
    values = graph.constant(tensor)
    return None if values is None else tuple(int(value) for value in values.reshape(-1))
