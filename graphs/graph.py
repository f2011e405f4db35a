"""A graph with its weights in memory and the look-ups that every pass needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.errors import BundleError

SHAPE_ONLY = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Operators that move numbers and change none: a quantiser before or after them is the same quantiser."""


class Graph:
    """An ONNX graph that a pass may change in place; ``model`` is the protobuf, ``weights`` its initialisers."""

    def __init__(self, model: Any) -> None:
        """Wrap a ModelProto whose weights are in memory; ``Constant`` nodes and copies of weights become weights."""
        self.model = model
        self.weights: dict[str, NDArray[Any]] = {}
        self.from_half: set[str] = set()
        self.same_numbers: dict[str, str] = {}
        self._read_weights()
        self.refresh()

    @classmethod
    def load(cls, path: Path) -> Graph:
        """Read an ONNX file with its external weights; raises BundleError where it is damaged."""
        import onnx

        try:
            return cls(onnx.load(str(path), load_external_data=True))
        except Exception as error:  # protobuf's DecodeError and onnx's checker errors share no public base class
            raise BundleError(f"{path}: no ONNX graph that can be read ({error}); export the model again") from error

    def copy(self) -> Graph:
        """A graph that can be changed apart from this one; the weights' arrays are shared, passes replace them."""
        import copy

        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        twin.weights = dict(self.weights)
        twin.same_numbers = dict(self.same_numbers)
        twin.refresh()
        return twin

    @property
    def nodes(self) -> Any:
        """The nodes, in topological order."""
        return self.model.graph.node

    def refresh(self) -> None:
        """Rebuild the look-ups after nodes changed."""
        self.producer: dict[str, Any] = {name: node for node in self.nodes for name in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in self.model.graph.output}

    def node(self, name: str) -> Any:
        """The node of that name."""
        return next(node for node in self.nodes if node.name == name)

    def readers(self, tensor: str) -> list[Any]:
        """The nodes that read a tensor's numbers (``Shape`` reads only its shape)."""
        return [node for node in self.consumers.get(tensor, []) if node.op_type != "Shape"]

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

    def own_weight(self, node: Any, position: int) -> None:
        """Give a node a weight of its own where others read the same one."""
        name = node.input[position]
        if sum(list(other.input).count(name) for other in self.consumers[name]) == 1:
            return
        number, copy = 1, f"{name}_copy"
        while copy in self.weights:
            number += 1
            copy = f"{name}_copy{number}"
        self.weights[copy] = self.weights[name].copy()
        node.input[position] = copy
        self.refresh()

    def replace_nodes(self, nodes: Iterable[Any]) -> None:
        """Put these nodes in place of the old ones."""
        kept = list(nodes)
        del self.nodes[:]
        self.nodes.extend(kept)
        self.refresh()

    def substitute(self, node: Any, new: Iterable[Any], gone: Iterable[Any] = ()) -> None:
        """Put ``new`` nodes in the place of one, and drop the ``gone`` ones; a node is known by what it writes."""
        place, dropped = node.output[0], {other.output[0] for other in gone}
        kept: list[Any] = []
        for other in self.nodes:
            if other.output[0] == place:
                kept.extend(new)
            elif other.output[0] not in dropped:
                kept.append(other)
        self.replace_nodes(kept)

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
        """How many floating-point numbers its weights hold: four bytes each are what a file's size is held against."""
        read = (values for name, values in self.weights.items() if name in self.consumers)
        return sum(values.size for values in read if np.issubdtype(values.dtype, np.floating))

    def drop_unused(self) -> None:
        """Remove nodes and weights that reach no output."""
        producer = {name: node for node in self.nodes for name in node.output}
        needed: set[str] = set()
        waiting = list(self.outputs)
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            needed.add(name)
            if name in producer:
                waiting.extend(producer[name].input)
        self.replace_nodes([node for node in self.nodes if needed.intersection(node.output)])
        self.weights = {name: values for name, values in self.weights.items() if name in needed}

    def to_model(self) -> Any:
        """A new ModelProto with the weights inside; those that came as fp16 and still fit go back as fp16."""
        import onnx
        from onnx import numpy_helper

        self.drop_unused()
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        casts = []
        for name, values in self.weights.items():
            stored = name
            if name in self.from_half and np.array_equal(values, half := values.astype(np.float16)):
                stored, values = f"{name}_float16", half
                casts.append(onnx.helper.make_node("Cast", [stored], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT))
            result.graph.initializer.append(numpy_helper.from_array(values, stored))
        nodes = [*casts, *result.graph.node]
        del result.graph.node[:]
        result.graph.node.extend(nodes)
        return result

    def _read_weights(self) -> None:
        from onnx import numpy_helper

        graph = self.model.graph
        for tensor in graph.initializer:
            self.weights[tensor.name] = numpy_helper.to_array(tensor)
        del graph.initializer[:]
        del graph.value_info[:]
        outputs = {value.name for value in graph.output}
        kept: list[Any] = []
        same: dict[str, str] = {}
        for node in graph.node:
            for position, name in enumerate(node.input):
                node.input[position] = same.get(name, name)
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif _is_stored_half(node) and node.input[0] in self.weights and node.output[0] not in outputs:
                self.weights[node.output[0]] = self.weights[node.input[0]].astype(np.float32)
            elif node.op_type == "Identity" and node.input[0] in self.weights and node.output[0] not in outputs:
                same[node.output[0]] = node.input[0]
            elif _widens(node, self.weights) and node.output[0] not in outputs:
                self.weights[node.output[0]] = self.weights[node.input[0]].astype(np.float32)
                self.from_half.add(node.output[0])
            else:
                kept.append(node)
        del graph.node[:]
        graph.node.extend(kept)


def _widens(node: Any, weights: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a node only brings a weight that is stored as fp16 to fp32."""
    if node.op_type != "Cast" or node.input[0] not in weights:
        return False
    to_float = next(attribute.i for attribute in node.attribute if attribute.name == "to") == 1
    return to_float and weights[node.input[0]].dtype == np.float16


def use_domain(graph: Graph, domain: str) -> None:
    """Declare that the graph uses operators of another domain, version 1."""
    from onnx import helper

    if not any(entry.domain == domain for entry in graph.model.opset_import):
        graph.model.opset_import.append(helper.make_opsetid(domain, 1))


def _is_stored_half(node: Any) -> bool:
    """Whether a node is the Cast of a weight that storage.py keeps in float16 because nothing is lost."""
    return node.op_type == "Cast" and node.name.endswith("_cast") and str(node.input[0]).endswith("_float16")


def inside_norm(node: Any) -> bool:
    """Whether a node belongs to a norm, whose products and sums are statistics: never to be rounded."""
    return "/layer_norm/" in node.name


def scalar(values: NDArray[Any]) -> float | None:
    """The number of a one-element weight; None for any other."""
    return float(values.reshape(-1)[0]) if values.size == 1 and np.issubdtype(values.dtype, np.floating) else None
