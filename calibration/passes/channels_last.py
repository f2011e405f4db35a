"""Write the front end's convolutions as matrix products over contiguous channels, without transposes.

At base shape OpenVINO spent 113 of 405 ms (group norm) and 250 of 550 ms (layer norm) on the first convolution's output
and on transposing [channels, time] to [time, channels] and back around it and the norms (per-node profile, 10 s of
audio, two threads; docs/explanation/int8-speed.md). Here every tensor between ``normalized`` and ``features`` is
channels-last:

1. The frames of the first convolution are rounded up to a multiple of all later strides, so that each convolution
   reads its input as rows of ``stride`` frames: a Reshape that copies nothing. Taps in the next row come from the rows
   shifted by one. The frames added at the end are cut off at ``features``.
2. Each convolution becomes windows [batch, frames, kernel · channels] times [kernel · channels, filters]. In float the
   windows, four times as large, are not joined: one product for the rows, one for the rows shifted by one, and a sum.
3. The first one, which is cheap for its single input channel and writes the graph's largest tensor, is computed
   together with its norm (first_layer.py): its output is written once, normalised.
4. Element-wise operators keep their tensors' names; transposes disappear.
5. A graph of another layout is not changed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from wav2edge.runtime.bundle.spec import FEATURES

from ...graphs.graph import Graph
from ...graphs.nodes import Node, integer, integers, make_node, rename_inputs
from .first_layer import rewrite_first
from .windows import ELEMENTWISE, SWAP_LAST_AXES, Builder, Step, frame_count, joined, windows


def channels_last(graph: Graph, in_float: Collection[str] = ()) -> int:
    """Rewrite the convolutions before ``features`` in place; returns how many, 0 where the layout is another.

    in_float: names of those that will not be quantised, see rule 2.
    """
    steps = steps_of(graph)
    if not steps:
        return 0
    trial = graph.copy()
    start = rewrite_first(trial, steps[0])
    if start is None:
        return 0
    trial.drop_unused()
    trial.sort()
    if not _Propagation(trial, steps, *start, in_float).run():
        return 0
    trial.drop_unused()
    trial.sort()
    graph.become(trial)
    return len(steps)


def steps_of(graph: Graph) -> tuple[Step, ...]:
    """The convolutions before ``features`` in order; none where one has another form than the family's."""
    found: list[tuple[Node, int, int]] = []
    for node in graph.nodes:
        if node.op_type != "Conv" or "conv_layers." not in node.name or node.input[1] not in graph.weights:
            continue
        kernel = graph.weights[node.input[1]].shape[2:]
        stride = (integers(node, "strides") or [1])[0]
        if not _is_plain(node) or len(kernel) != 1 or stride > kernel[0]:
            return ()
        found.append((node, int(kernel[0]), stride))
    if not found or graph.weights[found[0][0].input[1]].shape[1] != 1:
        return ()
    channel = graph.producer.get(found[0][0].input[0])
    axes = graph.weights.get(channel.input[1]) if channel is not None and channel.op_type == "Unsqueeze" else None
    if channel is None or axes is None or axes.tolist() not in ([1], [-2]):
        return ()
    strides = [stride for _, _, stride in found]
    return tuple(Step(*item, math.prod(strides[i + 1 :]), channel.input[0]) for i, item in enumerate(found))


def _is_plain(convolution: Node) -> bool:
    """Whether a convolution has one group, no padding and no dilation."""
    return (
        integer(convolution, "group") in (None, 1)
        and not any(integers(convolution, "pads") or [0])
        and (integers(convolution, "dilations") or [1]) == [1]
    )


class _Propagation:
    """Carries the channels-last layout from the first product to ``features``, node by node."""

    def __init__(
        self, graph: Graph, steps: Sequence[Step], start: str, declared: bool, in_float: Collection[str]
    ) -> None:
        """start: the tensor that is channels-last already; declared: whether the graph declares it so too."""
        self.graph = graph
        self.steps = steps
        self.in_float = in_float
        self.declared_channels_last = {start: declared}
        """For each tensor rewritten so far, whether the original graph has it as [batch, frames, channels] too."""
        self.convolutions = {step.node.output[0]: step for step in steps[1:]}
        self.renamed: dict[str, str] = {}
        self.before_features: str | None = None
        """The tensor whose transpose was ``features``; None where ``features`` is not a transpose."""
        self.nodes: list[Node] = []

    def run(self) -> bool:
        """Rewrite the graph; False, with the graph undefined, where an operator is not of a known kind."""
        if not all(self._take(node) for node in self.graph.nodes):
            return False
        if self.convolutions or not self.declared_channels_last.get(FEATURES, False):
            return False
        self.graph.replace_nodes([*self.nodes, *self._cut_off()])
        return True

    def _take(self, node: Node) -> bool:
        """Append one node, or those that replace it, to the new nodes; False for one of an unknown kind."""
        on_the_way = [name for name in node.input if name in self.declared_channels_last and name != FEATURES]
        source = on_the_way[0] if on_the_way else ""
        moved = self.renamed.get(source, source)
        rename_inputs([node], self.renamed)
        if not on_the_way:
            self.nodes.append(node)
            return True
        declared, result = self.declared_channels_last[source], node.output[0]
        if result in self.convolutions:
            self.declared_channels_last[result] = False
            self.nodes.extend(self._as_product(node, self.convolutions.pop(result).stride))
            return not declared
        if node.op_type == "Transpose" and integers(node, "perm") == SWAP_LAST_AXES:
            self._drop_transpose(node, declared)
            return True
        self.declared_channels_last[result] = declared
        self.nodes.append(node)
        if node.op_type == "LayerNormalization":
            return declared and node.input[0] == moved
        return node.op_type in ELEMENTWISE and self._others_are_scalars(node)

    def _drop_transpose(self, node: Node, declared: bool) -> None:
        """Drop a transpose: it changes the declared layout and moves nothing."""
        result = node.output[0]
        self.declared_channels_last[result] = not declared
        if result == FEATURES:
            self.before_features = node.input[0]
        else:
            self.renamed[result] = node.input[0]

    def _others_are_scalars(self, node: Node) -> bool:
        """Whether each input of an element-wise operator is a rewritten tensor or one number."""
        known = {*self.declared_channels_last, *self.renamed.values()}
        weights = self.graph.weights
        return all(name in known or (name in weights and weights[name].size == 1) for name in node.input)

    def _cut_off(self) -> list[Node]:
        """Drop the frames added by rule 1; the result is ``features``."""
        source = self.before_features
        if source is None:
            source = f"{FEATURES}/rounded_up"
            producer = next(node for node in self.nodes if FEATURES in node.output)
            producer.output[0] = source
        builder = Builder(self.graph, FEATURES)
        count = frame_count(builder, self.steps, len(self.steps))
        builder.add("Slice", [source, builder.integers(0), count, builder.integers(1)], "cut", FEATURES)
        return builder.nodes

    def _as_product(self, node: Node, stride: int) -> list[Node]:
        """Rule 2; the product keeps the convolution's name, so that settings for the one apply to the other."""
        stem = node.name.rsplit("/", 1)[0]
        builder = Builder(self.graph, stem)
        weight = self.graph.weights[node.input[1]]
        filters, channels, kernel = weight.shape
        rows = np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(kernel * channels, filters))
        source = node.input[0]
        bias = node.input[2] if len(node.input) > 2 else ""
        product = f"{stem}/product" if bias else node.output[0]
        parts = windows(builder, source, channels, kernel, stride)
        if node.name in self.in_float:
            _sum_of_products(builder, parts, rows, [*range(0, kernel, stride), kernel], channels, product)
        else:
            read = joined(builder, parts)
            self.graph.same_numbers[read] = source
            self.graph.weights[f"{node.input[1]}_rows"] = rows
            builder.nodes.append(make_node("MatMul", [read, f"{node.input[1]}_rows"], [product], node.name))
        if bias:
            builder.add("Add", [product, bias], "Add", node.output[0])
        return builder.nodes


def _sum_of_products(
    builder: Builder, parts: list[str], rows: np.ndarray, edges: list[int], channels: int, product: str
) -> None:
    """One product for each part of the windows, added up as ``product``; edges: the taps where the parts begin."""
    sums = ""
    for index, part in enumerate(parts):
        taken = builder.constant(f"weight_{index}", rows[edges[index] * channels : edges[index + 1] * channels])
        last = index == len(parts) - 1
        made = builder.add("MatMul", [part, taken], f"product_{index}", product if last and not sums else None)
        sums = builder.add("Add", [sums, made], f"sum_{index}", product if last else None) if sums else made
