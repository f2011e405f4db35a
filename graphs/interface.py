"""Give a contract graph the inputs and outputs that another runtime feeds and reads.

The bundle's graph stays as it is; standard operators are added before its inputs and after its outputs:

1. A client without lengths: they are read from the input's shape, from a mask, or from the flat batch of a server.
2. Clips that are shorter than the model's shortest are padded; they have 0 frames, and so no label.
3. A client that decodes every frame of a padded batch: frames after a clip's end are made the blank.
4. Labels that never become text are counted as the blank, which is what decoding does with them.
5. A pause that is too long for a word gets a delimiter, where the labels around it have none (``ctc.WORD_GAP``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..runtime.bundle.spec import INPUT_LENGTHS, INPUT_VALUES, OUTPUT_LENGTHS
from .graph import Graph
from .nodes import Node, Tensor, make_node

NEVER = -1e4
"""The score of a label that must not be chosen: its probability is exactly 0 in fp32, and fp16 can hold it."""
_FLOAT, _INT32, _INT64, _BOOL = 1, 6, 7, 9
"""The numbers of these types in ``onnx.TensorProto``."""


def pad_to_minimum(graph: Graph, samples: int) -> None:
    """Pad a batch of fewer samples with zeros (rule 2); its lengths stay what they are."""
    new = _Nodes(graph, "pad_to_minimum")
    size = new("Gather", new("Shape", INPUT_VALUES), new.constant(np.int64(1)), axis=0)
    missing = new("Max", new("Sub", new.constant(np.int64(samples)), size), new.constant(np.int64(0)))
    after = new("Unsqueeze", missing, new.constant([0]))
    padded = new("Pad", INPUT_VALUES, new("Concat", new.constant([0, 0, 0]), after, axis=0))
    new.put_first({INPUT_VALUES: padded})


def lengths_at_least(graph: Graph, samples: int) -> None:
    """Take shorter clips as of so many samples, the zeros after them included: a mean over no frame is NaN."""
    new = _Nodes(graph, "lengths_at_least")
    new.put_first({INPUT_LENGTHS: new("Max", INPUT_LENGTHS, new.constant(np.int64(samples)))})


def lengths_from_shape(graph: Graph) -> None:
    """Take the input's length as each clip's length, for clients that run clips one by one (rule 1)."""
    new = _Nodes(graph, "lengths_from_shape")
    shape = new("Shape", INPUT_VALUES)
    batch, size = (new("Slice", shape, new.constant([n]), new.constant([n + 1])) for n in (0, 1))
    lengths = new("Expand", size, batch)
    new.put_first({INPUT_LENGTHS: lengths})
    drop_input(graph, INPUT_LENGTHS)


def lengths_from_padding(graph: Graph, value: float) -> None:
    """Take the samples up to the last that is not ``value`` as each clip's length (rule 1).

    For clients that pass no lengths and pad a batch with a number that can be set: one that does not occur in
    waveforms.
    """
    new = _Nodes(graph, "lengths_from_padding")
    inside = new("Not", new("Equal", INPUT_VALUES, new.constant(np.float32(value))))
    size = new("Gather", new("Shape", INPUT_VALUES), new.constant(np.int64(1)), axis=0)
    one = new.constant(np.int64(1))
    places = new("Range", one, new("Add", size, one), one)
    ends = new("Mul", new("Cast", inside, to=_INT64), new("Unsqueeze", places, new.constant([0])))
    lengths = new("Max", new.largest(ends, axis=1, keepdims=0), new.constant([1]))
    new.put_first({INPUT_LENGTHS: lengths})
    drop_input(graph, INPUT_LENGTHS)


def flat_batch(graph: Graph, values: str, counts: str) -> None:
    """Take a batch as one flat row of samples, and an int32 [batch, 1] of how many belong to each clip (rule 1).

    values, counts: the names of the new inputs. The padded batch is made here, by one Gather.
    """
    from onnx import helper

    graph.rename(INPUT_VALUES, "batch_values")
    drop_input(graph, INPUT_VALUES)
    drop_input(graph, INPUT_LENGTHS)
    graph.model.graph.input.extend(
        [
            helper.make_tensor_value_info(values, _FLOAT, [None]),
            helper.make_tensor_value_info(counts, _INT32, [None, 1]),
        ]
    )
    new = _Nodes(graph, "flat_batch")
    zero, one, first = new.constant(np.int64(0)), new.constant(np.int64(1)), new.constant([1])
    lengths = new("Squeeze", new("Cast", counts, to=_INT64), first)
    ends = new("CumSum", lengths, zero)
    starts = new("Unsqueeze", new("Sub", ends, lengths), first)
    places = new("Unsqueeze", new("Range", zero, new("ReduceMax", lengths, keepdims=0), one), new.constant([0]))
    inside = new("Less", places, new("Unsqueeze", lengths, first))
    # A position after a clip's end reads the batch's first sample, which the selection replaces.
    taken = new("Where", inside, new("Add", starts, places), zero)
    batch = new("Where", inside, new("Gather", values, taken, axis=0), new.constant(np.float32(0.0)))
    new.put_first({"batch_values": batch, INPUT_LENGTHS: lengths})


def only_blank_after_end(graph: Graph, output: str, blank: int, labels: int) -> None:
    """Make frames at or after ``output_lengths`` the blank in ``output`` [batch, frames, labels] (rule 3)."""
    new = _Nodes(graph, "only_blank_after_end")
    silence = np.full(labels, NEVER, dtype=np.float32)
    silence[blank] = 0.0
    source = new.take_over(output)
    frames = new("Gather", new("Shape", source), new.constant(np.int64(1)), axis=0)
    zero, one = new.constant(np.int64(0)), new.constant(np.int64(1))
    places = new("Unsqueeze", new("Range", zero, frames, one), new.constant([0]))
    inside = new("Less", places, new("Unsqueeze", OUTPUT_LENGTHS, new.constant([1])))
    new("Where", new("Unsqueeze", inside, new.constant([2])), source, new.constant(silence), result=output)
    new.put_last()


def silent_as_blank(graph: Graph, output: str, blank: int, silent: Sequence[int], labels: int) -> None:
    """Let a label that never becomes text count as the blank where it is the best (rule 4)."""
    if not silent:
        return
    new = _Nodes(graph, "silent_as_blank")
    is_blank, is_silent = np.zeros(labels, dtype=bool), np.zeros(labels, dtype=bool)
    is_blank[blank], is_silent[list(silent)] = True, True
    source = new.take_over(output)
    quiet = new("Gather", source, new.constant([blank, *silent]), axis=2)
    best = new.largest(quiet, axis=2, keepdims=1)
    merged = new("Where", new.constant(is_blank), best, source)
    new("Where", new.constant(is_silent), new.constant(np.float32(NEVER)), merged, result=output)
    new.put_last()


def delimiter_in_pauses(graph: Graph, output: str, blank: int, delimiter: int, labels: int, frames: int) -> None:
    """Make one frame of a pause the delimiter, where it is longer than ``frames`` and no word ends there (rule 5).

    Apply it to ``output`` [batch, frames, labels] after rules 3 and 4: a pause is a run of blanks.
    """
    new = _Nodes(graph, "delimiter_in_pauses")
    word_end = np.full(labels, NEVER, dtype=np.float32)
    word_end[delimiter] = 0.0
    source = new.take_over(output)
    best = new("ArgMax", source, axis=2, keepdims=0)
    shape = new("Shape", best)
    row = new("Gather", shape, new.constant(np.int64(1)), axis=0)
    flat = new("Reshape", best, new.constant([-1]))
    spoken = new("NonZero", new("Not", new("Equal", flat, new.constant(np.int64(blank)))))
    places = new("Squeeze", spoken, new.constant([0]))
    before = new("Slice", places, new.constant([0]), new.constant([-1]))
    after = new("Slice", places, new.constant([1]), new.constant([np.iinfo(np.int64).max]))
    wide = new("Greater", new("Sub", after, before), new.constant(np.int64(frames + 1)))
    one_clip = new("Equal", new("Div", before, row), new("Div", after, row))
    ends = [new("Equal", new("Gather", flat, side), new.constant(np.int64(delimiter))) for side in (before, after)]
    inside = new("And", new("And", wide, one_clip), new("Not", new("Or", *ends)))
    chosen = new("Add", new("Compress", before, inside), new.constant(np.int64(1 + frames // 2)))
    marks = new("Expand", new.constant([1]), new("Shape", chosen))
    marked = new("ScatterElements", new("Expand", new.constant([0]), new("Shape", flat)), chosen, marks)
    mask = new("Reshape", new("Cast", marked, to=_BOOL), new("Concat", shape, new.constant([1]), axis=0))
    new("Where", mask, new.constant(word_end), source, result=output)
    new.put_last()


def log_probabilities(graph: Graph, output: str) -> None:
    """Turn scores in ``output`` [batch, frames, labels] into log-probabilities."""
    new = _Nodes(graph, "log_probabilities")
    new("LogSoftmax", new.take_over(output), axis=-1, result=output)
    new.put_last()


def rename_output(graph: Graph, old: str, new: str) -> None:
    """Give an output another name."""
    for value in graph.model.graph.output:
        if value.name == old:
            value.name = new
    graph.rename(old, new)


def drop_input(graph: Graph, name: str) -> None:
    """Remove an input of the graph; its readers must read something else by then."""
    inputs = graph.model.graph.input
    for position in [place for place, value in enumerate(inputs) if value.name == name]:
        del inputs[position]


def drop_output(graph: Graph, name: str) -> None:
    """Remove an output of the graph; nodes may still read it."""
    outputs = graph.model.graph.output
    for position in [place for place, value in enumerate(outputs) if value.name == name]:
        del outputs[position]
    graph.refresh()


class _Nodes:
    """New nodes of one rewrite, each named after it, that are put into the graph together."""

    def __init__(self, graph: Graph, name: str) -> None:
        """Prepare for a graph; name: the prefix of the names of nodes, tensors and weights."""
        self._graph = graph
        self._name = graph.free_weight_name(name)
        self._nodes: list[Node] = []
        self._weights = 0

    def __call__(self, operator: str, *inputs: str, result: str | None = None, **attributes: object) -> str:
        """Add an operator; returns the tensor that it writes, ``result`` where that is given."""
        name = f"{self._name}/{operator}_{len(self._nodes)}"
        written = result or name
        self._nodes.append(make_node(operator, inputs, [written], name, None, **attributes))
        return written

    def largest(self, values: str, axis: int, keepdims: int) -> str:
        """Add a maximum over an axis, which is an attribute below opset 18 and an input from there on."""
        opset = max(entry.version for entry in self._graph.model.opset_import if entry.domain in ("", "ai.onnx"))
        if opset < 18:
            return self("ReduceMax", values, axes=[axis], keepdims=keepdims)
        return self("ReduceMax", values, self.constant([axis]), keepdims=keepdims)

    def constant(self, values: Tensor | np.generic | Sequence[int]) -> str:
        """Add a constant; returns its name. A list of integers is int64 [n]."""
        name = f"{self._name}/constant_{self._weights}"
        self._weights += 1
        self._graph.weights[name] = np.asarray(values)
        return name

    def take_over(self, output: str) -> str:
        """Give an output of the graph an inner name, so that a new node can write the output; returns that name."""
        inner = f"{self._name}/{output}"
        self._graph.rename(output, inner)
        return inner

    def put_first(self, instead: Mapping[str, str]) -> None:
        """Put the new nodes before the graph's own, which read other tensors instead of inputs of the graph."""
        for old, new in instead.items():
            self._graph.replace_uses(old, new)
        self._graph.replace_nodes([*self._nodes, *self._graph.nodes])

    def put_last(self) -> None:
        """Put the new nodes after the graph's own."""
        self._graph.replace_nodes([*self._graph.nodes, *self._nodes])
