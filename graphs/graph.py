"""A graph with its weights in memory and the look-ups that every pass needs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.errors import BundleError

from .nodes import Node, Nodes, Tensor, inside_norm, integer, rename_inputs, rename_outputs, scalar
from .storage import SMALLEST_HALF, exact_half, mapped

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["SHAPE_ONLY", "Graph", "inside_norm", "scalar", "use_domain"]

SHAPE_ONLY = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Operators that move numbers and change none: a quantiser before or after them is the same quantiser."""
_FLOAT = 1
"""``onnx.TensorProto.FLOAT``, the target of a Cast to fp32."""


class Graph:
    """An ONNX graph that a pass may change in place.

    model: the protobuf, without weights. weights: its initialisers by name. producer: the node that writes a tensor.
    consumers: the nodes that read it, those that read only its shape included. outputs: the tensors that are outputs
    of the graph. same_numbers: tensors that hold another tensor's numbers and zeros alone (see ``anchor``).
    from_half: weights that were stored as fp16 and are brought to fp32 by a Cast.
    ``replace_uses``, ``rename``, ``substitute`` and ``replace_nodes`` keep the look-ups true; who changes nodes by hand
    calls ``refresh``.
    """

    model: ModelProto
    weights: dict[str, Tensor]
    producer: dict[str, Node]
    consumers: dict[str, list[Node]]
    outputs: set[str]

    def __init__(self, model: ModelProto, folder: Path | None = None) -> None:
        """Wrap a ModelProto; ``Constant`` nodes and copies of weights become weights.

        folder: where weights outside the graph's file are; they are mapped, and read when a pass reads them. Without
        it all must be in memory.
        """
        self.model = model
        self.weights = {}
        self.from_half: set[str] = set()
        self.same_numbers: dict[str, str] = {}
        self._take_weights(folder)
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
        """A graph that can be changed apart from this one; the weights' arrays are shared, passes replace them."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin.weights = dict(self.weights)
        twin.same_numbers = dict(self.same_numbers)
        twin.refresh()
        return twin

    def floats(self, name: str) -> NDArray[np.float32]:
        """A weight that is computed with, in float32; ``weights`` has it in the type that the graph gives it."""
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

        Who writes either tensor, and whether it is an output of the graph, stays as it is.
        """
        found = self.consumers.get(old, [])
        chosen = list(found if readers is None else readers)
        rename_inputs(chosen, {old: new})
        known = self.consumers.setdefault(new, [])
        known += [node for node in chosen if not any(node is other for other in known)]
        self.consumers[old] = [node for node in found if old in node.input]

    def rename(self, old: str, new: str) -> None:
        """Give a tensor between nodes another name, where it is written and where it is read."""
        rename_inputs(self.nodes, {old: new})
        rename_outputs(self.nodes, {old: new})
        self.refresh()

    def anchor(self, tensor: str) -> str:
        """Where a quantiser of ``tensor`` belongs: above the shape-only operators that feed nothing else.

        ``same_numbers`` names further tensors that hold another's numbers and zeros alone (windows of a convolution).
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
        """Give a node a weight of its own where others read the same one."""
        name = node.input[position]
        if sum(list(other.input).count(name) for other in self.consumers[name]) == 1:
            return
        twin = self.free_weight_name(f"{name}_copy")
        self.weights[twin] = self.weights[name].copy()
        node.input[position] = twin
        self.refresh()

    def replace_nodes(self, nodes: Iterable[Node]) -> None:
        """Put these nodes in place of the old ones."""
        kept = list(nodes)
        del self.nodes[:]
        self.nodes.extend(kept)
        self.refresh()

    def substitute(self, node: Node, new: Iterable[Node], gone: Iterable[Node] = ()) -> None:
        """Put ``new`` nodes in the place of one, and drop the ``gone`` ones; a node is known by what it writes."""
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
        """How many floating-point numbers its weights hold: four bytes each are what a file's size is compared with."""
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
        """Have ``to_model`` store in fp16 each large weight that loses nothing by it (``storage.SMALLEST_HALF``)."""
        large = (name for name, values in self.weights.items() if values.size >= SMALLEST_HALF)
        self.from_half.update(name for name in large if self.weights[name].dtype == np.float32)

    def to_model(self, store: Callable[[Tensor, str], TensorProto] | None = None) -> ModelProto:
        """A new ModelProto with the weights inside; those that came as fp16 and still fit go back as fp16.

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

    def _take_weights(self, folder: Path | None) -> None:
        """Move initialisers, and nodes that only hand a weight on, into ``weights``."""
        import onnx
        from onnx import numpy_helper

        for tensor in self.model.graph.initializer:
            if folder is not None and tensor.data_location == onnx.TensorProto.EXTERNAL:
                self.weights[tensor.name] = mapped(tensor, folder)
            else:
                self.weights[tensor.name] = numpy_helper.to_array(tensor)
        del self.model.graph.initializer[:]
        del self.model.graph.value_info[:]
        # A message holds the memory of what was deleted from it as long as it exists.
        whole, self.model = self.model, onnx.ModelProto()
        self.model.CopyFrom(whole)
        graph = self.model.graph
        outputs = {value.name for value in graph.output}
        kept: list[Node] = []
        same: dict[str, str] = {}
        for node in self.nodes:
            rename_inputs([node], same)
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.output[0] in outputs or not node.input or node.input[0] not in self.weights:
                kept.append(node)
            elif node.op_type == "Identity":
                same[node.output[0]] = node.input[0]
            elif not self._take_cast(node):
                kept.append(node)
        del self.nodes[:]
        self.nodes.extend(kept)

    def _take_cast(self, node: Node) -> bool:
        """Store the result of a Cast from an fp16 weight as an fp32 weight; False for any other node."""
        source, result = node.input[0], node.output[0]
        if node.op_type != "Cast":
            return False
        # storage.py keeps in fp16 what loses nothing by it, and would do so again.
        stored_in_half = node.name.endswith("_cast") and source.endswith("_float16")
        if not stored_in_half:
            if integer(node, "to") != _FLOAT or self.weights[source].dtype != np.float16:
                return False
            self.from_half.add(result)
        self.weights[result] = self.weights[source].astype(np.float32)
        return True


def use_domain(graph: Graph, domain: str) -> None:
    """Declare that the graph uses operators of another domain, version 1."""
    from onnx import helper

    if not any(entry.domain == domain for entry in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid(domain, 1))
