"""Write the convolutions in front as matrix products over contiguous channels, without transposes.

At base shape OpenVINO spent 113 of 405 ms (group norm) and 250 of 550 ms (layer norm) on the first convolution's output
and on turning [channels, time] into [time, channels] and back around it and the norms (per-node profile, 10 s of audio,
two threads). Here every tensor between ``normalized`` and ``features`` lies channels-last:

1. The frames of the first convolution are rounded up to a multiple of all later strides, so that each convolution
   reads its input as rows of ``stride`` frames: a Reshape that moves nothing. Taps that reach into the next row come
   from the rows shifted by one. The frames added at the end are cut off at ``features``.
2. Each convolution becomes windows [batch, frames, kernel · channels] times [kernel · channels, filters]. In float the
   windows, four times as large, are not joined: one product for the rows, one for the rows shifted by one, and a sum.
3. The first one, whose single input channel makes it cheap and its output the largest tensor of the graph, takes its
   norm in (first_layer.py): its output is written once, normalised.
4. Element-wise operators keep their tensors' names; transposes disappear.
5. A graph of another layout is left as it was.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from wav2edge.runtime.bundle.spec import FEATURES

from ...graphs.graph import Graph
from .first_layer import rewrite_first
from .windows import ELEMENTWISE, TURN, Builder, Step, frame_count, joined, windows


def channels_last(graph: Graph, in_float: Collection[str] = ()) -> int:
    """Rewrite the convolutions before ``features`` in place; returns how many, 0 where the layout is another.

    in_float: names of those that will not be quantised, see rule 2.
    """
    steps = _steps(graph)
    if not steps:
        return 0
    trial = graph.copy()
    start = rewrite_first(trial, steps[0])
    if start is None:
        return 0
    trial.drop_unused()
    trial.sort()
    if not _propagate(trial, steps, *start, in_float):
        return 0
    trial.drop_unused()
    trial.sort()
    graph.model, graph.weights, graph.same_numbers = trial.model, trial.weights, trial.same_numbers
    graph.refresh()
    return len(steps)


def _steps(graph: Graph) -> tuple[Step, ...]:
    """The convolutions in front in order; none where one is not as the family has them."""
    found: list[tuple[Any, int, int]] = []
    for node in graph.nodes:
        if node.op_type == "Conv" and "conv_layers." in node.name and node.input[1] in graph.weights:
            weight = graph.weights[node.input[1]]
            settings = {a.name: list(a.ints) if a.ints else a.i for a in node.attribute}
            plain = settings.get("group", 1) == 1 and not any(settings.get("pads", [0]))
            kernel, stride = weight.shape[2:], settings.get("strides", [1])[0]
            if not plain or len(kernel) != 1 or settings.get("dilations", [1]) != [1] or stride > kernel[0]:
                return ()
            found.append((node, int(kernel[0]), int(stride)))
    if not found or graph.weights[found[0][0].input[1]].shape[1] != 1:
        return ()
    strides = [stride for _, _, stride in found]
    return tuple(Step(*item, later=math.prod(strides[i + 1 :])) for i, item in enumerate(found))


def _propagate(graph: Graph, steps: tuple[Step, ...], start: str, told_so: bool, in_float: Collection[str]) -> bool:
    """Carry the layout from ``start`` to ``features``; False where it meets what it knows not.

    lies: of each tensor on the way, whether its shape says [batch, frames, channels], as its numbers now lie.
    """
    lies = {start: told_so}
    by_output = {step.node.output[0]: step for step in steps[1:]}
    same: dict[str, str] = {}
    last: str | None = None
    nodes: list[Any] = []
    for node in graph.nodes:
        active = [name for name in node.input if name in lies]
        for position, name in enumerate(node.input):
            node.input[position] = same.get(name, name)
        if FEATURES in active:
            active.remove(FEATURES)
        if not active:
            nodes.append(node)
            continue
        told = lies[active[0]]
        result = node.output[0]
        if result in by_output:
            if told:
                return False
            nodes.extend(_as_product(graph, node, by_output.pop(result).stride, node.name in in_float))
            lies[result] = False
        elif node.op_type == "Transpose" and list(node.attribute[0].ints) == TURN:
            lies[result] = not told
            if result == FEATURES:
                last = node.input[0]
            else:
                same[result] = node.input[0]
        elif node.op_type == "LayerNormalization" and told and node.input[0] == same.get(active[0], active[0]):
            lies[result] = True
            nodes.append(node)
        elif node.op_type in ELEMENTWISE and _scalars(graph, node, lies, same):
            lies[result] = told
            nodes.append(node)
        else:
            return False
    if by_output or not lies.get(FEATURES, False):
        return False
    graph.replace_nodes([*nodes, *_cut_off(graph, nodes, steps, last)])
    return True


def _scalars(graph: Graph, node: Any, lies: dict[str, bool], same: dict[str, str]) -> bool:
    """Whether all that an element-wise operator reads beside tensors on the way is one number."""
    known = set(lies) | set(same.values())
    return all(name in known or (name in graph.weights and graph.weights[name].size == 1) for name in node.input)


def _cut_off(graph: Graph, nodes: list[Any], steps: tuple[Step, ...], source: str | None) -> list[Any]:
    """The frames that are no rounding up, as ``features``."""
    if source is None:
        source = f"{FEATURES}/rounded_up"
        producer = next(node for node in nodes if FEATURES in node.output)
        producer.output[0] = source
    builder = Builder(graph, FEATURES)
    count = frame_count(builder, steps, len(steps))
    builder.add("Slice", [source, builder.integers(0), count, builder.integers(1)], "cut", FEATURES)
    return builder.nodes


def _as_product(graph: Graph, node: Any, stride: int, in_float: bool) -> list[Any]:
    """Rule 2; the product keeps the convolution's name, so that what is said of the one holds for the other."""
    from onnx import helper

    stem = node.name.rsplit("/", 1)[0]
    builder = Builder(graph, stem)
    weight = graph.weights[node.input[1]]
    filters, channels, kernel = weight.shape
    rows = np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(kernel * channels, filters))
    source = node.input[0]
    bias = node.input[2] if len(node.input) > 2 else ""
    product = f"{stem}/product" if bias else node.output[0]
    parts = windows(builder, source, channels, kernel, stride)
    if in_float:
        edges = [*range(0, kernel, stride), kernel]
        sums = ""
        for index, part in enumerate(parts):
            taken = builder.constant(f"weight_{index}", rows[edges[index] * channels : edges[index + 1] * channels])
            last = index == len(parts) - 1
            made = builder.add("MatMul", [part, taken], f"product_{index}", product if last and not sums else None)
            sums = builder.add("Add", [sums, made], f"sum_{index}", product if last else None) if sums else made
    else:
        read = joined(builder, parts)
        graph.same_numbers[read] = source
        graph.weights[f"{node.input[1]}_rows"] = rows
        builder.nodes.append(helper.make_node("MatMul", [read, f"{node.input[1]}_rows"], [product], node.name))
    if bias:
        builder.add("Add", [product, bias], "Add", node.output[0])
    return builder.nodes
