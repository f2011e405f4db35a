"""The graph contract around a graph that takes normalised clips: the work that other exporters leave to the caller.

1. Samples after a clip's end are cut off (one clip at a time) or replaced by zero (with an attention mask).
2. The clip is normalised over its samples without padding, in FP32, where the checkpoint's preprocessing does so.
3. A graph with an attention mask gets it from the lengths; one without takes one clip at a time (``one_clip``), since
   padding would change its attention and the statistics of its group norms.
4. Lengths in frames are counted where an output has a time axis. Where the features can be found, they are cut to their
   length as well, so that front end and encoder can run separately.
"""

from __future__ import annotations

import numpy as np

from ..graphs.graph import Graph
from ..graphs.nodes import Node, Tensor, make_node
from ..runtime.audio.loudness import VARIANCE_FLOOR
from ..runtime.bundle.spec import (
    FEATURE_LENGTHS,
    FEATURES,
    INPUT_LENGTHS,
    INPUT_VALUES,
    NORMALIZED,
    OUTPUT_LENGTHS,
    ModelSpec,
)
from .preprocessing import SUMMED_AT_ONCE

MASK = "attention_mask"
_WAVEFORM = "waveform"
"""The inner name of the original graph's input."""


class _Nodes:
    """Nodes and constants that are added to a graph, under names with one prefix."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made: list[Node] = []

    def add(self, operator: str, *inputs: str | Tensor, result: str | None = None, **attributes: object) -> str:
        """Add a node; an array among its inputs becomes a constant. Returns its output."""
        place = f"/contract/waveform_norm/{len(self.made)}/{operator}"
        names = [
            value if isinstance(value, str) else self._constant(f"{place}_{i}", value) for i, value in enumerate(inputs)
        ]
        output = result or f"{place}_output"
        self.made.append(make_node(operator, names, [output], place, None, **attributes))
        return output

    def mean(self, values: str) -> str:
        """The mean over samples, [batch, 1], of a few at a time as in ``modules.WaveformNorm``."""
        means = self.add("Unsqueeze", values, _integers(1))
        size = [SUMMED_AT_ONCE]
        for _ in range(2):
            padded = self.add("Pad", means, _integers(0, 0, 0, 0, 0, SUMMED_AT_ONCE - 1))
            means = self.add("AveragePool", padded, kernel_shape=size, strides=size)
        total = self.add(
            "Mul", self.add("ReduceSum", means, _integers(2), keepdims=0), np.array(SUMMED_AT_ONCE**2, np.float32)
        )
        return self.add("Div", total, self.add("Cast", self.size(values, 1), to=1))

    def size(self, values: str, axis: int) -> str:
        """The size of an axis, int64 [1]."""
        return self.add("Gather", self.add("Shape", values), _integers(axis))

    def cut(self, values: str, lengths: str) -> str:
        """The first ``lengths`` [1] of the second axis."""
        return self.add("Slice", values, _integers(0), lengths, _integers(1))

    def _constant(self, name: str, value: Tensor) -> str:
        self.graph.weights[name] = value
        return name


def add_contract(graph: Graph, spec: ModelSpec, outputs: dict[str, str], core: str, one_clip: bool) -> bool:
    """Give a graph the inputs and outputs of the contract, in place; returns whether its features were found.

    outputs: the graph's names by the bundle's. core: the attribute of transformers' model that holds the network.
    one_clip: rule 3.
    """
    _plain_names(graph, core)
    _free_names(graph, {ours for ours, theirs in outputs.items() if ours != theirs})
    masked = next((value for value in graph.model.graph.input if value.name == MASK), None)
    kind = None if masked is None else int(masked.type.tensor_type.elem_type)
    nodes = _Nodes(graph)
    graph.rename(INPUT_VALUES, _WAVEFORM)
    if one_clip:
        clip = nodes.cut(INPUT_VALUES, INPUT_LENGTHS)
        _normalised(nodes, clip, spec.normalize)
        nodes.add("Slice", NORMALIZED, _integers(0), INPUT_LENGTHS, _integers(1), result=_WAVEFORM)
        if kind is not None:
            ones = nodes.add("ConstantOfShape", nodes.add("Shape", _WAVEFORM))
            nodes.add("Cast", nodes.add("Add", ones, np.array(1, np.float32)), result=MASK, to=kind)
    else:
        valid = _valid(nodes)
        _normalised_where(nodes, valid, spec.normalize)
        nodes.add("Identity", NORMALIZED, result=_WAVEFORM)
        if kind is not None:
            nodes.add("Cast", valid, result=MASK, to=kind)
    stages = one_clip and kind is None and _cut_features(graph, nodes)
    for ours, theirs in outputs.items():
        if ours != theirs:
            graph.rename(theirs, ours)
    timed = next((output.name for output in spec.outputs if "frames" in output.axes), None)
    if timed is not None and one_clip:
        nodes.add("Reshape", nodes.size(timed, 1), _integers(-1), result=OUTPUT_LENGTHS)
    elif timed is not None:
        _count_frames(nodes, spec)
    graph.replace_nodes([*graph.nodes, *nodes.made])
    _declare(graph, spec, one_clip)
    graph.sort()
    return stages


def _plain_names(graph: Graph, core: str) -> None:
    """Rename nodes to the paths of graphs that wav2edge traces: without the network's attribute, heads in ``head``."""
    inside = any(node.name.startswith(f"/{core}/") for node in graph.nodes)
    for node in graph.nodes:
        if node.name.startswith(f"/{core}/"):
            node.name = node.name[len(core) + 1 :]
        elif inside and node.name.startswith("/"):
            node.name = f"/head{node.name}"


def _free_names(graph: Graph, outputs: set[str]) -> None:
    """Rename values of the graph whose names the contract uses."""
    for name in (INPUT_LENGTHS, NORMALIZED, FEATURES, FEATURE_LENGTHS, OUTPUT_LENGTHS, _WAVEFORM, *sorted(outputs)):
        if name in graph.weights:
            graph.weights[f"/original/{name}"] = graph.weights.pop(name)
        graph.rename(name, f"/original/{name}")


def _normalised(nodes: _Nodes, clip: str, normalize: bool) -> None:
    """Rule 2 for a clip without padding."""
    if not normalize:
        nodes.add("Identity", clip, result=NORMALIZED)
        return
    centred = nodes.add("Sub", clip, nodes.mean(clip))
    centred = nodes.add("Sub", centred, nodes.mean(centred))
    variance = nodes.mean(nodes.add("Mul", centred, centred))
    _scaled(nodes, centred, variance)


def _valid(nodes: _Nodes) -> str:
    """Whether a sample is inside its clip: bool [batch, samples]."""
    samples = nodes.add("Reshape", nodes.size(INPUT_VALUES, 1), np.array([], np.int64))
    positions = nodes.add("Range", np.array(0, np.int64), samples, np.array(1, np.int64))
    ends = nodes.add("Reshape", INPUT_LENGTHS, _integers(-1, 1))
    return nodes.add("Less", nodes.add("Reshape", positions, _integers(1, -1)), ends)


def _normalised_where(nodes: _Nodes, valid: str, normalize: bool) -> None:
    """Rule 2 over each clip's samples; means over the padded length are scaled to the clip's length."""
    zero = np.array(0, np.float32)
    if not normalize:
        nodes.add("Where", valid, INPUT_VALUES, zero, result=NORMALIZED)
        return
    clean = nodes.add("Where", valid, INPUT_VALUES, zero)
    whole = nodes.add("Cast", nodes.size(INPUT_VALUES, 1), to=1)
    own = nodes.add("Cast", nodes.add("Reshape", INPUT_LENGTHS, _integers(-1, 1)), to=1)
    longer = nodes.add("Div", whole, own)
    centred = clean
    for _ in range(2):
        mean = nodes.add("Mul", nodes.mean(centred), longer)
        centred = nodes.add("Where", valid, nodes.add("Sub", centred, mean), zero)
    variance = nodes.add("Mul", nodes.mean(nodes.add("Mul", centred, centred)), longer)
    _scaled(nodes, centred, variance)


def _scaled(nodes: _Nodes, centred: str, variance: str) -> None:
    deviation = nodes.add("Sqrt", nodes.add("Add", variance, np.array(VARIANCE_FLOOR, np.float32)))
    nodes.add("Div", centred, deviation, result=NORMALIZED)


def _cut_features(graph: Graph, nodes: _Nodes) -> bool:
    """Name the input of the feature projection, and cut it to its length; False where it cannot be found."""
    inside = [node for node in graph.nodes if node.name.startswith("/feature_projection/")]
    made = {name for node in inside for name in node.output}
    read = {name for node in inside for name in node.input if name in graph.producer and name not in made}
    if len(read) != 1:
        return False
    found = read.pop()
    graph.rename(found, FEATURES)
    cut = nodes.add("Slice", FEATURES, _integers(0), FEATURE_LENGTHS, _integers(1))
    graph.replace_uses(FEATURES, cut)
    nodes.add("Reshape", nodes.size(FEATURES, 1), _integers(-1), result=FEATURE_LENGTHS)
    return True


def _count_frames(nodes: _Nodes, spec: ModelSpec) -> None:
    """Lengths in frames by the time arithmetic; shifted by one stride, so that truncation equals floor."""
    lengths = INPUT_LENGTHS
    for step in spec.time:
        shift = 2 * step.padding - step.kernel + step.stride
        lengths = nodes.add(
            "Div", nodes.add("Add", lengths, np.array(shift, np.int64)), np.array(step.stride, np.int64)
        )
    nodes.add("Identity", lengths, result=OUTPUT_LENGTHS)


def _declare(graph: Graph, spec: ModelSpec, one_clip: bool) -> None:
    """State inputs and outputs; a batch of 1 where one clip is taken, so that engines refuse a larger one."""
    from onnx import TensorProto, helper

    batch = 1 if one_clip else "batch"
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.model.graph.output}
    del graph.model.graph.input[:]
    del graph.model.graph.output[:]
    graph.model.graph.input.extend(
        [
            helper.make_tensor_value_info(INPUT_VALUES, TensorProto.FLOAT, (batch, "samples")),
            helper.make_tensor_value_info(INPUT_LENGTHS, TensorProto.INT64, (batch,)),
        ]
    )
    for output in spec.outputs:
        last = next((sizes[-1] for name, sizes in shapes.items() if name in (output.name, _theirs(output.name))), 0)
        sizes = [batch, *(["frames"] if "frames" in output.axes else []), last or output.axes[-1]]
        graph.model.graph.output.append(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, sizes))
    if OUTPUT_LENGTHS in spec.output_names:
        graph.model.graph.output.append(helper.make_tensor_value_info(OUTPUT_LENGTHS, TensorProto.INT64, (batch,)))
    graph.refresh()


def _theirs(name: str) -> str:
    from .head_spec import THEIRS

    return THEIRS.get(name, name)


def _integers(*values: int) -> Tensor:
    return np.array(values, np.int64)
