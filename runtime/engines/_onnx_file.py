"""ONNX files, read and rewritten in place without the package onnx, which the runtime does without.

protobuf knows only the fields that are needed here (onnx.proto3 of https://github.com/onnx/onnx); it keeps all others
as they are. Weights outside the file are not read.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, MutableSequence, Sequence
from typing import Protocol, cast

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ModelProto": {"graph": (7, "GraphProto"), "opset_import": (8, "OperatorSetIdProto*")},
    "OperatorSetIdProto": {"domain": (1, "string"), "version": (2, "int64")},
    "GraphProto": {
        "node": (1, "NodeProto*"),
        "initializer": (5, "TensorProto*"),
        "input": (11, "ValueInfoProto*"),
        "output": (12, "ValueInfoProto*"),
    },
    "NodeProto": {
        "input": (1, "string*"),
        "output": (2, "string*"),
        "op_type": (4, "string"),
        "attribute": (5, "AttributeProto*"),
        "domain": (7, "string"),
    },
    "AttributeProto": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "g": (6, "GraphProto"),
        "ints": (8, "int64*"),
        "graphs": (11, "GraphProto*"),
        "type": (20, "int32"),
    },
    "TensorProto": {"dims": (1, "int64*"), "data_type": (2, "int32"), "name": (8, "string"), "raw_data": (9, "bytes")},
    "ValueInfoProto": {"name": (1, "string")},
}
"""Number and type of each field; ``*``: repeated."""
_STANDARD = ("", "ai.onnx")
"""Names of the domain of ONNX's own operators."""
_FLOAT, _INT = 1, 2
"""AttributeProto.AttributeType."""
_TYPES: Mapping[int, np.dtype[np.generic]] = {1: np.dtype("<f4"), 7: np.dtype("<i8"), 10: np.dtype("<f2")}
"""By TensorProto.DataType."""


class _Attribute(Protocol):
    name: str
    f: float
    i: int
    ints: Sequence[int]
    graphs: Sequence[object]

    def HasField(self, field: str) -> bool: ...


class OnnxNode(Protocol):
    """An operator of a graph."""

    op_type: str
    domain: str
    input: MutableSequence[str]
    output: MutableSequence[str]
    attribute: MutableSequence[_Attribute]


def integer(node: OnnxNode, name: str) -> int | None:
    """The value of a node's attribute that is an integer; None where the node has none of the name."""
    return next((entry.i for entry in node.attribute if entry.name == name), None)


class _Tensor(Protocol):
    name: str
    data_type: int
    dims: Sequence[int]
    raw_data: bytes


class OnnxFile:
    """A file's graph. ``refresh`` brings ``source`` and ``readers`` up to date after nodes were changed."""

    def __init__(self, model: bytes) -> None:
        """Parse a file's bytes; raises ValueError where they are not an ONNX file's."""
        self._model = _model_class()()
        try:
            self._model.ParseFromString(model)
        except DecodeError as error:
            raise ValueError(f"it is not an ONNX file ({error})") from error
        self.nodes: MutableSequence[OnnxNode] = self._model.graph.node
        given = {entry.name for entry in self._model.graph.input}
        self._constants: Mapping[str, _Tensor] = {
            tensor.name: tensor for tensor in self._model.graph.initializer if tensor.name not in given
        }
        self.refresh()

    def refresh(self) -> None:
        """Find the nodes around each tensor again."""
        self._sources = {name: node for node in self.nodes for name in node.output}
        self._readers: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    @property
    def nested(self) -> bool:
        """Whether nodes hold graphs of their own (If, Loop, Scan), which may read any tensor of this one."""
        return any(entry.HasField("g") or entry.graphs for node in self.nodes for entry in node.attribute)

    def source(self, tensor: str, *operators: str) -> OnnxNode | None:
        """The node that writes a tensor; None where it is none of these operators of ONNX."""
        node = self._sources.get(tensor)
        return node if node is not None and node.op_type in operators and node.domain in _STANDARD else None

    def readers(self, tensor: str) -> Sequence[OnnxNode]:
        """The nodes that read a tensor."""
        return self._readers.get(tensor, ())

    def constant(self, tensor: str) -> NDArray[np.generic] | None:
        """The values of a constant of float or int64 that is in the file; None for any other tensor."""
        found = self._constants.get(tensor)
        if found is None or found.data_type not in _TYPES or not found.raw_data:
            return None
        return np.frombuffer(found.raw_data, _TYPES[found.data_type]).reshape(found.dims)

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """The shape of a constant; None for any other tensor."""
        found = self._constants.get(tensor)
        return None if found is None else tuple(found.dims)

    def data_type(self, tensor: str) -> int | None:
        """The TensorProto.DataType of a constant; None for any other tensor."""
        found = self._constants.get(tensor)
        return None if found is None else found.data_type

    def turn_into(self, node: OnnxNode, operator: str, inputs: Sequence[str], **attributes: int | float) -> None:
        """Make a node another operator, of ONNX Runtime's own (com.microsoft)."""
        node.op_type, node.domain = operator, "com.microsoft"
        node.input[:] = inputs
        del node.attribute[:]
        for name, value in attributes.items():
            kind, field = (_INT, "i") if isinstance(value, int) else (_FLOAT, "f")
            node.attribute.add(name=name, type=kind, **{field: value})  # type: ignore[attr-defined]
        if not any(entry.domain == node.domain for entry in self._model.opset_import):
            self._model.opset_import.add(domain=node.domain, version=1)

    def drop_unread(self) -> None:
        """Remove the nodes whose outputs nothing reads, and those that only these read."""
        read = {output.name for output in self._model.graph.output}
        for place in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[place]
            if read.isdisjoint(node.output):
                del self.nodes[place]
            else:
                read.update(node.input)

    def to_bytes(self) -> bytes:
        """The file's bytes; weights outside the file are named as before."""
        return cast(bytes, self._model.SerializeToString())


@functools.cache
def _model_class() -> type:
    """The class of a file, in a pool of its own: the package onnx registers the same names."""
    file = descriptor_pb2.FileDescriptorProto(name="wav2edge.proto", package="onnx")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            entry = message.field.add(name=field, number=number)
            entry.label = entry.LABEL_REPEATED if kind.endswith("*") else entry.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if kind in _MESSAGES:
                entry.type, entry.type_name = entry.TYPE_MESSAGE, f".onnx.{kind}"
            else:
                entry.type = getattr(entry, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return cast(type, message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx.ModelProto")))
