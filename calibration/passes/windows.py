"""What rewrites of the front end's convolutions share: a collector of nodes, and windows over channels-last tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...graphs.graph import Graph
from ...graphs.nodes import Node, make_node

ELEMENTWISE = frozenset({"Div", "Mul", "Add", "Erf", "Gelu", "Relu"})
"""Element-wise operators between this family's convolutions: they work in any layout."""
SWAP_LAST_AXES = [0, 2, 1]
"""The permutation between [batch, channels, frames] and [batch, frames, channels]."""
TO_THE_END = 2**62
"""A Slice that ends here ends at the tensor's end; the largest power of two that int64 holds."""


@dataclass(frozen=True)
class Step:
    """One convolution."""

    node: Node
    kernel: int
    """In frames of its input."""
    stride: int
    """In frames of its input."""
    later: int
    """The product of all later convolutions' strides."""
    waveform: str
    """The tensor [batch, samples] that the first convolution reads, as one channel."""


class Builder:
    """Collects new nodes and constants under one stem."""

    def __init__(self, graph: Graph, stem: str) -> None:
        """stem: what the new nodes' names start with."""
        self.graph = graph
        self.stem = stem
        self.nodes: list[Node] = []

    def constant(self, name: str, values: ArrayLike) -> str:
        """A weight of this name under the stem."""
        self.graph.weights[f"{self.stem}/{name}"] = np.asarray(values)
        return f"{self.stem}/{name}"

    def integers(self, *values: int) -> str:
        """A list of int64."""
        return self.constant("i_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def add(
        self, operator: str, inputs: list[str], name: str, output: str | None = None, **attributes: int | list[int]
    ) -> str:
        """A node; returns its output."""
        path = f"{self.stem}/{name}"
        self.nodes.append(make_node(operator, inputs, [output or path], path, None, **attributes))
        return output or path


def windows(builder: Builder, tensor: str, channels: int, kernel: int, stride: int) -> list[str]:
    """Windows of ``kernel`` frames, ``stride`` apart, over [batch, stride · n, channels], in parts to be joined.

    Part by part [batch, n, up to stride · channels]: the rows, then the rows shifted by one, and so on.
    """
    rows = builder.add("Reshape", [tensor, builder.integers(0, -1, stride * channels)], "rows")
    parts = [rows]
    for shift in range(1, -(-kernel // stride)):
        width = min(kernel - shift * stride, stride) * channels
        bounds = [builder.integers(shift, 0), builder.integers(TO_THE_END, width), builder.integers(1, 2)]
        part = builder.add("Slice", [rows, *bounds], f"next_{shift}")
        pads = builder.integers(0, 0, 0, 0, shift, 0)
        parts.append(builder.add("Pad", [part, pads], f"next_{shift}_filled"))
    return parts


def joined(builder: Builder, parts: list[str]) -> str:
    """The parts of windows side by side [batch, n, kernel · channels]."""
    return parts[0] if len(parts) == 1 else builder.add("Concat", parts, "windows", axis=2)


def frame_count(builder: Builder, steps: Sequence[Step], upto: int) -> str:
    """The frames that ``upto`` convolutions make of the samples of the batch, int64 [1]."""
    count = builder.add("Shape", [steps[0].waveform], "samples_shape")
    count = builder.add("Slice", [count, builder.integers(1), builder.integers(2)], "samples")
    for index, step in enumerate(steps[:upto]):
        count = builder.add("Sub", [count, builder.integers(step.kernel)], f"less_{index}")
        count = builder.add("Div", [count, builder.integers(step.stride)], f"hops_{index}")
        count = builder.add("Add", [count, builder.integers(1)], f"frames_{index}")
    return count
