"""Let each frame attend to the frames around it only, so that cost grows in proportion to the length of a window.

1. Frames are cut into blocks. The queries of a block meet the keys and values of three blocks: the one before, their
   own, and the one after (the sliding chunks of Beltagy, Peters and Cohan, "Longformer", 2020, section 3.1). So every
   frame sees at least one block to either side, and at most two.
2. Where the whole is shorter than a block, it is one block: the numbers are those of full attention, and attention
   takes up to three times as many products, because each query meets two masked blocks.
3. Queries, keys and values are cut where they are [batch, frames, size], before heads are split, and blocks are put on
   the batch axis: the nodes between are those of full attention. Keys outside the clip are masked, as padding is.

Attention with a bias for relative positions is refused: its bias is made for all pairs of frames.
"""

from __future__ import annotations

import numpy as np

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.errors import InputError

from ...graphs.graph import SHAPE_ONLY, Graph
from ...graphs.nodes import Node
from .windows import TO_THE_END, Builder

MASKED = -30000.0
"""As in export/attention.py."""
FEWEST = 16
"""Frames of the shortest block."""


def block_of(spec: ModelSpec, seconds: float) -> int:
    """The frames of a block of so many seconds; raises InputError where they are below ``FEWEST``."""
    block = round(seconds * spec.sample_rate / spec.feature_stride)
    if block < FEWEST:
        least = FEWEST * spec.feature_stride / spec.sample_rate
        raise InputError(f"local_attention {seconds:g}: give at least {least:g} s, {FEWEST} frames of this model")
    return block


def localize(graph: Graph, block: int) -> int:
    """Rewrite every attention, in place, for blocks of ``block`` frames; returns how many there are.

    Raises InputError where an attention is of another kind, or none is found.
    """
    found = [_Attention(graph, node) for node in list(graph.nodes) if node.op_type == "Softmax"]
    if not found:
        raise InputError("the graph has no attention that could be made local")
    cuts: dict[str, _Cuts] = {}
    for attention in found:
        if attention.mask not in cuts:
            cuts[attention.mask] = _Cuts(graph, attention.mask, block, f"/local_attention/{len(cuts)}")
        attention.rewrite(cuts[attention.mask])
    graph.replace_nodes([*graph.nodes, *(node for each in cuts.values() for node in each.nodes)])
    graph.sort()
    return len(found)


class _Attention:
    """One attention: its queries, keys and values [batch, frames, size], its mask and its result."""

    def __init__(self, graph: Graph, softmax: Node) -> None:
        self.graph = graph
        add = graph.producer.get(softmax.input[0])
        products = [] if add is None else [graph.producer.get(name) for name in add.input]
        scores = next((node for node in products if node is not None and node.op_type == "MatMul"), None)
        values = graph.readers(softmax.output[0])
        if add is None or scores is None or len(values) != 1 or values[0].op_type != "MatMul":
            raise InputError(f"{softmax.name}: this attention is not that of wav2vec 2.0; it cannot be made local")
        self.add, self.mask = add, next(name for name in add.input if name != scores.output[0])
        producer = graph.producer.get(self.mask)
        if producer is None or producer.op_type != "Unsqueeze":
            raise InputError(f"{softmax.name}: its scores depend on relative positions; it cannot be made local")
        self.query, self.key, self.value = (self._above(name) for name in (*scores.input, values[0].input[1]))
        self.result = self._below(values[0].output[0])

    def rewrite(self, cuts: _Cuts) -> None:
        """Read blocks, and join what comes of them."""
        graph = self.graph
        for (tensor, reader), cut in ((self.query, cuts.blocks), (self.key, cuts.windows), (self.value, cuts.windows)):
            graph.replace_uses(tensor, cut(tensor), [reader])
        graph.replace_uses(self.mask, cuts.bias, [self.add])
        graph.replace_uses(self.result, cuts.joined(self.result), graph.readers(self.result))

    def _above(self, tensor: str) -> tuple[str, Node]:
        """The tensor [batch, frames, size] that a tensor by head is made of, and the Reshape that reads it."""
        node = self.graph.producer[tensor]
        while node.op_type == "Transpose":
            node = self.graph.producer[node.input[0]]
        target = None if node.op_type != "Reshape" else self.graph.weights.get(node.input[1])
        if target is None or target.tolist()[:2] != [0, 0] or node.input[0] not in self.graph.producer:
            raise InputError(f"{node.name}: heads are split in another way; this attention cannot be made local")
        return node.input[0], node

    def _below(self, tensor: str) -> str:
        """The mixed values with heads joined again [batch, frames, size]."""
        readers = self.graph.readers(tensor)
        while len(readers) == 1 and readers[0].op_type in SHAPE_ONLY:
            if readers[0].op_type == "Reshape" and readers[0].input[1] not in self.graph.weights:
                raise InputError(f"{readers[0].name}: heads are joined in another way; it cannot be made local")
            tensor = readers[0].output[0]
            readers = self.graph.readers(tensor)
        return tensor


class _Cuts:
    """Cuts tensors of one sequence into blocks, and joins them; ``nodes`` are those that do it."""

    def __init__(self, graph: Graph, mask: str, block: int, stem: str) -> None:
        """mask: the bias of padded keys [batch, 1, 1, frames]."""
        self._graph, self._stem = graph, stem
        new = self._new = Builder(graph, stem)
        shape = new.add("Shape", [mask], "shape")
        self._batch = new.add("Slice", [shape, new.integers(0), new.integers(1)], "batch")
        self._frames = new.add("Slice", [shape, new.integers(3), new.integers(4)], "frames")
        self._block = new.add("Min", [self._frames, new.integers(block)], "block")
        rounded = new.add("Sub", [new.add("Add", [self._frames, self._block], "longer"), new.integers(1)], "up")
        count = new.add("Div", [rounded, self._block], "count")
        self._window = new.add("Mul", [self._block, new.integers(3)], "window")
        missing = new.add("Sub", [new.add("Mul", [count, self._block], "whole"), self._frames], "missing")
        end = new.add("Add", [missing, self._block], "end")
        nothing = new.integers(0)
        self._after = self._shape("after", new.integers(0, 0, 0, 0), missing, nothing)
        self._around = self._shape("around", nothing, self._block, new.integers(0, 0), end, nothing)
        self.bias = self._bias(mask, self._shape("around_mask", nothing, self._block, nothing, end))

    @property
    def nodes(self) -> list[Node]:
        """What was added so far."""
        return self._new.nodes

    def blocks(self, tensor: str) -> str:
        """From [batch, frames, size] to [batch · blocks, frames of a block, size]."""
        new = self._new
        padded = new.add("Pad", [tensor, self._after], f"{tensor}/padded")
        shape = self._shape(f"{tensor}/shape", new.integers(-1), self._block, new.integers(0))
        return self._same(tensor, new.add("Reshape", [padded, shape], f"{tensor}/blocks"))

    def windows(self, tensor: str) -> str:
        """From [batch, frames, size] to [batch · blocks, frames of three blocks, size]."""
        new = self._new
        whole = new.add("Shape", [tensor], f"{tensor}/whole")
        size = new.add("Slice", [whole, new.integers(2), new.integers(3)], f"{tensor}/size")
        padded = new.add("Pad", [tensor, self._around], f"{tensor}/padded")
        rows = self._shape(f"{tensor}/rows_shape", new.integers(0), new.integers(-1), self._block, size)
        three = self._three(new.add("Reshape", [padded, rows], f"{tensor}/rows"))
        shape = self._shape(f"{tensor}/shape", new.integers(-1), self._window, size)
        return self._same(tensor, new.add("Reshape", [three, shape], f"{tensor}/windows"))

    def joined(self, tensor: str) -> str:
        """From [batch · blocks, frames of a block, size] to [batch, frames, size]."""
        new = self._new
        shape = self._shape(f"{tensor}/whole_shape", self._batch, new.integers(-1), new.integers(0))
        new.add("Reshape", [tensor, shape], f"{tensor}/whole")
        bounds = [new.integers(0), self._frames, new.integers(1)]
        return new.add("Slice", [f"{self._stem}/{tensor}/whole", *bounds], f"{tensor}/joined")

    def _bias(self, mask: str, around: str) -> str:
        """The mask of the windows [batch · blocks, 1, 1, frames of three blocks]."""
        new = self._new
        flat = new.add("Reshape", [mask, new.integers(0, -1)], "mask_flat")
        filled = new.add("Pad", [flat, around, new.constant("masked", np.float32(MASKED))], "mask_padded")
        rows = self._shape("mask_rows_shape", new.integers(0), new.integers(-1), self._block)
        three = self._three(new.add("Reshape", [filled, rows], "mask_rows"))
        shape = self._shape("mask_shape", new.integers(-1), new.integers(1, 1), self._window)
        return new.add("Reshape", [three, shape], "mask")

    def _three(self, rows: str) -> str:
        """Each block behind the one before and in front of the next: [batch, blocks + 2, frames, …] three times."""
        new = self._new
        name = rows.removeprefix(f"{self._stem}/")
        bounds = ((0, -2), (1, -1), (2, TO_THE_END))
        parts = [
            new.add("Slice", [rows, new.integers(first), new.integers(end), new.integers(1)], f"{name}_{first}")
            for first, end in bounds
        ]
        return new.add("Concat", parts, f"{name}_three", axis=2)

    def _shape(self, name: str, *sizes: str) -> str:
        """Sizes one after another."""
        return self._new.add("Concat", list(sizes), name, axis=0)

    def _same(self, tensor: str, cut: str) -> str:
        """``cut``, noted to hold the numbers of ``tensor`` and zeros, so that they are quantised once, before."""
        self._graph.same_numbers[cut] = tensor
        return cut
