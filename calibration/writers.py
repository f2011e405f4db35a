"""From the tensor that a linear layer reads, up the graph to the linear layers that write its units."""

from __future__ import annotations

from dataclasses import dataclass

from ..graphs.graph import Graph
from ..graphs.nodes import Node, Tensor, integer, scalar
from .sites import is_linear, linear_bias

_UNITWISE = frozenset({"Transpose", "MatMul", "Softmax", "Div", "Erf", "Add", "Sub", "Mul", "Gelu", "Relu", "Sigmoid"})
"""Operators between the layers that write units and the one that reads them, which treat each unit alone."""
_MOVES = {"Pad": (), "Slice": (2, 3), "Gather": (3,), "Reshape": ()}
"""Operators that move scores [batch, heads, queries, keys] within each head (by_key in export/attention.py), with the
axes that they may work on where a constant names them."""


@dataclass(frozen=True)
class Pick:
    """A tensor with an axis of heads that no layer of a branch writes: what is kept of it is picked from it."""

    tensor: str
    """Its name."""
    axis: int
    """The axis of the heads."""
    readers: tuple[str, ...]
    """The nodes of the branch that read it."""


class Walk:
    """What `up` finds: the linear layers that write the units, and how the nodes between them treat heads.

    `heads`: how many there are, by each node that tells; a negative number is the size of one. `splits` and `by_head`
    are those of a `Branch` (parts.py).
    """

    def __init__(self, graph: Graph) -> None:
        """Begin with nothing found."""
        self.graph = graph
        self.writers: list[Node] = []
        self.heads: set[int] = set()
        self.splits: list[str] = []
        self.by_head: list[tuple[str, int]] = []
        self._picked: dict[str, int] = {}
        self._inner: dict[str, Node] = {}

    def up(self, tensor: str) -> bool:
        """Collect the writers; False where an operator on the way does not treat each unit alone."""
        waiting = [(tensor, False)]
        while waiting:
            name, apart = waiting.pop()  # apart: whether the heads have an axis of their own
            node = self.graph.producer.get(name)
            if node is None or name in self._inner:
                continue
            if apart and (heads := _position_heads(self.graph, name)) is not None:
                self.heads.add(heads)
                self._picked[name] = 1
                continue
            if _is_mask(self.graph, name):
                continue
            self._inner[name] = node
            if is_linear(self.graph, node) and not apart:
                self.writers.append(node)
                continue
            above = self._apart(node) if apart else self._together(node)
            if above is None:
                return False
            waiting += above
        return bool(self.writers)

    def closed(self, reader: Node) -> bool:
        """Whether nothing else reads what is between the writers and the reader."""
        readers = [node for name in self._inner for node in self.graph.readers(name)]
        inside = self._inside(reader)
        return all(id(node) in inside for node in readers) and not self.graph.outputs.intersection(self._inner)

    def picks(self, reader: Node) -> tuple[Pick, ...]:
        """What was found of tensors that no writer writes."""
        inside = self._inside(reader)
        return tuple(
            Pick(name, axis, tuple(node.name for node in self.graph.readers(name) if id(node) in inside))
            for name, axis in self._picked.items()
        )

    def _inside(self, reader: Node) -> set[int]:
        return {id(node) for node in self._inner.values()} | {id(reader)}

    def _together(self, node: Node) -> list[tuple[str, bool]] | None:
        """What to follow above a node whose units are columns; None where it is not followed."""
        if node.op_type == "Reshape":
            return [(node.input[0], True)] if self._shape(node) == [0, 0, -1] else None
        biased = node.op_type == "Add" and linear_bias(self.graph, node) is not None
        if not biased and (node.op_type not in _UNITWISE or any(self._weight(name) is not None for name in node.input)):
            return None
        return [(name, False) for name in node.input if name not in self.graph.weights]

    def _apart(self, node: Node) -> list[tuple[str, bool]] | None:
        """What to follow above a node [batch, heads, …]; None where it is not followed."""
        shape = self._shape(node)
        if shape is not None and len(shape) == 4 and shape[:2] == [0, 0]:
            return self._split(node, shape)
        if node.op_type in _MOVES:
            return [(node.input[0], True)] if shape is None and self._moves_inside(node) else None
        if node.op_type not in _UNITWISE:
            return None
        for place, name in enumerate(node.input):
            weight = self._weight(name)
            if weight is not None and weight.ndim == 4 and weight.shape[0] == 1 and weight.shape[1] > 1:
                self.heads.add(int(weight.shape[1]))
                self.by_head.append((node.name, place))
            elif weight is not None and weight.ndim > (2 if node.op_type == "MatMul" and place == 1 else 1):
                return None
        return [(name, True) for name in node.input if name not in self.graph.weights]

    def _split(self, node: Node, shape: list[int]) -> list[tuple[str, bool]] | None:
        """Above the Reshape that makes heads: the linear layer before it, or nothing where the heads are picked."""
        if shape[2] > 1 and shape[3] == -1:
            self.heads.add(shape[2])
        elif shape[2] == -1 and shape[3] > 0:
            self.heads.add(-shape[3])
        else:
            return None
        if self._linear(node.input[0]):
            self.splits.append(node.name)
            return [(node.input[0], False)]
        self._picked[node.output[0]] = 2
        return []

    def _linear(self, tensor: str) -> bool:
        """Whether a tensor is the result of a linear layer, perhaps times a number."""
        node = self.graph.producer.get(tensor)
        weights = self.graph.weights
        while node is not None and node.op_type in ("Mul", "Div") and any(name in weights for name in node.input):
            node = next((self.graph.producer.get(name) for name in node.input if name not in weights), None)
        if node is not None and node.op_type == "Add":
            return linear_bias(self.graph, node) is not None
        return node is not None and is_linear(self.graph, node)

    def _moves_inside(self, node: Node) -> bool:
        """Whether the axes that a constant names are none of batch and heads."""
        allowed = _MOVES[node.op_type]
        if node.op_type == "Gather":
            return integer(node, "axis") in allowed
        axes = self.graph.weights.get(node.input[3]) if node.op_type == "Slice" and len(node.input) > 3 else None
        if node.op_type == "Slice":
            return axes is not None and all(int(axis) % 4 in allowed for axis in axes.reshape(-1))
        return True

    def _shape(self, node: Node) -> list[int] | None:
        """The constant shape that a Reshape gives; None where it is computed, and for other nodes."""
        shape = self.graph.weights.get(node.input[1]) if node.op_type == "Reshape" else None
        return None if shape is None else [int(number) for number in shape.reshape(-1)]

    def _weight(self, name: str) -> Tensor | None:
        """A weight that is more than a number; None for one number, and for what is not a weight."""
        found = self.graph.weights.get(name)
        return None if found is None or scalar(found) is not None else found


def _is_mask(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is the mask [batch, 1, 1, keys], which two Unsqueeze nodes make (export/attention.py)."""
    node = graph.producer.get(tensor)
    return node is not None and node.op_type == "Unsqueeze"


def _position_heads(graph: Graph, tensor: str) -> int | None:
    """The heads of a bias by relative position [1, heads, queries, keys] that is read from a table; else None."""
    for operator in ("Unsqueeze", "Transpose", "Gather"):
        node = graph.producer.get(tensor)
        if node is None or node.op_type != operator:
            return None
        tensor = node.input[0]
    table = graph.weights.get(tensor)
    return None if table is None or table.ndim != 2 else int(table.shape[1])
