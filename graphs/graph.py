"""A graph with its weights in memory and the look-ups that every pass needs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.errors import BundleError

from .initializers import take_weights
from .nodes import Node, Nodes, Tensor, inside_norm, rename_inputs, rename_outputs, scalar
from .storage import SMALLEST_HALF, exact_half

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["SHAPE_ONLY", "Graph", "inside_norm", "scalar", "use_domain"]

SHAPE_ONLY = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Operators that only move numbers: a quantiser has the same effect before and after them."""


class Graph:
    """An ONNX graph that a pass may change in place.

    model: the protobuf, without weights. weights: its initialisers by name. producer: the node that writes a tensor.
    consumers: the nodes that read it, those that read only its shape included. outputs: the tensors that are outputs
    of the graph. same_numbers: tensors that hold only another tensor's numbers and zeros (see ``anchor``).
    from_half: weights that were stored as fp16 and are brought to fp32 by a Cast.
    ``replace_uses``, ``rename``, ``substitute`` and ``replace_nodes`` update the look-ups; code that changes nodes by
    hand calls ``refresh``.
    """

    model: ModelProto
    weights: dict[str, Tensor]
    producer: dict[str, Node]
    consumers: dict[str, list[Node]]
    outputs: set[str]
    from_half: set[str]

    def __init__(self, model: ModelProto, folder: Path | None = None) -> None:
        """Wrap a ModelProto; ``Constant`` nodes and copies of weights become weights.

        folder: where weights outside the graph's file are; they are mapped, and read when a pass reads them. Without
        it all must be in memory.
        """
        self.model, self.weights, self.from_half = take_weights(model, folder)
        self.same_numbers: dict[str, str] = {}
        self.refresh()

    @classmethod
    def load(cls, path: Path) -> Graph:
        """Read an ONNX file with its external weights; raises BundleError where it is damaged."""
        import onnx

        try:
            return cls(onnx.load(str(path), load_external_data=True))
        except Exception as error:  # protobuf's DecodeError and onnx's checker errors share no public base class
            raise BundleError(f"{path}: not a readable ONNX graph ({error}); export the model again") from error

    def copy(self) -> Graph:
        """A graph that can be changed separately; both share the weights' arrays, which passes replace."""
        result = copy.copy(self)
        result.model = copy.deepcopy(self.model)
        result.weights = dict(self.weights)
        result.same_numbers = dict(self.same_numbers)
        result.refresh()
        return result

    def floats(self, name: str) -> NDArray[np.float32]:
        """A weight in float32, to compute with; ``weights`` has it in the type that the graph gives it."""
        return np.asarray(self.weights[name], dtype=np.float32)

    def become(self, other: Graph) -> None:
        """Take over the nodes and weights of a copy that a pass has finished with."""
        self.model, self.weights, self.same_numbers = other.model, other.weights, other.same_numbers
        self.refresh()

    @property
    def nodes(self) -> Nodes:
        """The nodes, in topological order."""
        nodes: Nodes = self.model.graph.node
        return nodes

    def refresh(self) -> None:
        """Rebuild the look-ups after nodes changed."""
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.consumers = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in self.model.graph.output}

    def node(self, name: str) -> Node:
        """The node of that name."""
        return next(node for node in self.nodes if node.name == name)

    def readers(self, tensor: str) -> list[Node]:
        """The nodes that read a tensor's numbers (``Shape`` reads only its shape)."""
        return [node for node in self.consumers.get(tensor, []) if node.op_type != "Shape"]

    def replace_uses(self, old: str, new: str, readers: Iterable[Node] | None = None) -> None:
        """Let the readers of ``old`` read ``new`` instead: all of them, or only the ``readers`` named.

        The nodes that write them, and the graph's outputs, do not change.
        """
        consumers = self.consumers.get(old, [])
        chosen = list(consumers if readers is None else readers)
        rename_inputs(chosen, {old: new})
        known = self.consumers.setdefault(new, [])
        known += [node for node in chosen if not any(node is other for other in known)]
        self.consumers[old] = [node for node in consumers if old in node.input]

    def rename(self, old: str, new: str) -> None:
        """Give a tensor between nodes another name, where it is written and where it is read."""
        rename_inputs(self.nodes, {old: new})
        rename_outputs(self.nodes, {old: new})
        self.refresh()

    def anchor(self, tensor: str) -> str:
        """The tensor to quantise in place of ``tensor``: above the shape-only operators that feed nothing else.

        It follows ``same_numbers`` too, whose tensors hold only another's numbers and zeros (windows of a convolution).
        """
        while True:
            tensor = self.same_numbers.get(tensor, tensor)
            node = self.producer.get(tensor)
            if node is None or node.op_type not in SHAPE_ONLY or node.input[0] in self.weights:
                return tensor
            source = node.input[0]
            if len(self.readers(source)) != 1 or source in self.outputs:
                return tensor
            tensor = source

    def free_weight_name(self, wanted: str) -> str:
        """``wanted``, or with a number appended where a weight has that name already."""
        name, number = wanted, 1
        while name in self.weights:
            number += 1
            name = f"{wanted}{number}"
        return name

    def own_weight(self, node: Node, position: int) -> None:
        """Give a node a copy of a weight that others read too."""
        name = node.input[position]
        if sum(list(other.input).count(name) for other in self.consumers[name]) == 1:
            return
        copied = self.free_weight_name(f"{name}_copy")
        self.weights[copied] = self.weights[name].copy()
        node.input[position] = copied
        self.refresh()

    def replace_nodes(self, nodes: Iterable[Node]) -> None:
        """Put these nodes in place of the old ones."""
        new = list(nodes)
        del self.nodes[:]
        self.nodes.extend(new)
        self.refresh()

    def substitute(self, node: Node, new: Iterable[Node], gone: Iterable[Node] = ()) -> None:
        """Put ``new`` nodes in place of one, and drop the ``gone`` ones; nodes are identified by their first output."""
        place, dropped = node.output[0], {other.output[0] for other in gone}
        kept: list[Node] = []
        for other in self.nodes:
            if other.output[0] == place:
                kept.extend(new)
            elif other.output[0] not in dropped:
                kept.append(other)
        self.replace_nodes(kept)

    def bypass(self, node: Node, source: str) -> None:
        """Drop a node whose readers get the same numbers from ``source``; its result must not be a graph output."""
        self.replace_uses(node.output[0], source)
        self.substitute(node, [])

    def sort(self) -> None:
        """Bring the nodes back into topological order; ties keep their order."""
        ready = set(self.weights) | {value.name for value in self.model.graph.input} | {""}
        waiting, ordered = list(self.nodes), []
        while waiting:
            rest = []
            for node in waiting:
                if all(name in ready for name in node.input):
                    ordered.append(node)
                    ready.update(node.output)
                else:
                    rest.append(node)
            assert len(rest) < len(waiting), (
                f"the graph has a cycle at {rest[0].name}: {[n for n in rest[0].input if n not in ready]}"
            )
            waiting = rest
        self.replace_nodes(ordered)

    @property
    def parameters(self) -> int:
        """The number of floating-point values in its weights, at four bytes each in fp32."""
        read = (values for name, values in self.weights.items() if name in self.consumers)
        return sum(values.size for values in read if np.issubdtype(values.dtype, np.floating))

    def drop_unused(self) -> None:
        """Remove nodes and weights that reach no output."""
        needed: set[str] = set()
        waiting = list(self.outputs)
        producer = {name: node for node in self.nodes for name in node.output}
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            needed.add(name)
            if name in producer:
                waiting.extend(producer[name].input)
        self.replace_nodes([node for node in self.nodes if needed.intersection(node.output)])
        self.weights = {name: values for name, values in self.weights.items() if name in needed}

    def prefer_half(self) -> None:
        """Have ``to_model`` store in fp16 each large weight that fp16 holds exactly (``storage.SMALLEST_HALF``)."""
        large = (name for name, values in self.weights.items() if values.size >= SMALLEST_HALF)
        self.from_half.update(name for name in large if self.weights[name].dtype == np.float32)

    def to_model(self, store: Callable[[Tensor, str], TensorProto] | None = None) -> ModelProto:
        """A new ModelProto with the weights inside; what was read as fp16, and fp16 still holds exactly, as fp16.

        store: makes the entry of a weight in the graph, such as a reference to a data file (``storage.DataFile``).
        """
        import onnx
        from onnx import numpy_helper

        store = store or numpy_helper.from_array
        self.drop_unused()
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        casts = []
        for name, values in self.weights.items():
            stored = name
            if name in self.from_half and (half := exact_half(values)) is not None:
                stored, values = f"{name}_float16", half
                casts.append(onnx.helper.make_node("Cast", [stored], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT))
            result.graph.initializer.append(store(values, stored))
        nodes = [*casts, *result.graph.node]
        del result.graph.node[:]
        result.graph.node.extend(nodes)
        return result


def use_domain(graph: Graph, domain: str) -> None:
    """Declare that the graph uses operators of another domain, version 1."""
    from onnx import helper

    if not any(entry.domain == domain for entry in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid(domain, 1))
