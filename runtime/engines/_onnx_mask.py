"""Leave the mask out of a transformer's attention: for batches in which every clip has all the frames.

The mask that hides what was added behind a clip is 0 on the clip's own frames. Adding it there changes no number, but
reads and writes frames² numbers for each head of each layer.

1. Only an addition to what a Softmax alone reads, of ``Where(frame < feature_lengths, 0, …)`` with frames counted from
   0 by 1. A mask that hides anything else, as that of local attention does by distance, stays.
2. Graphs are read with the few fields of ONNX's messages (onnx.proto3 of https://github.com/onnx/onnx) that this takes;
   protobuf keeps all others as they are.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, MutableSequence
from typing import Protocol, cast

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ..bundle.spec import FEATURE_LENGTHS

_SAME_NUMBERS = frozenset({"Unsqueeze", "Identity", "Cast"})
"""Operators that hand on their first input's numbers in another shape or type."""
_TYPES: Mapping[int, np.dtype[np.generic]] = {1: np.dtype("<f4"), 7: np.dtype("<i8"), 10: np.dtype("<f2")}
"""Of the constants of a mask, by TensorProto.DataType."""


class _Node(Protocol):
    op_type: str
    input: MutableSequence[str]
    output: MutableSequence[str]


class _Tensor(Protocol):
    name: str
    data_type: int
    raw_data: bytes


class _Named(Protocol):
    name: str


class _Graph(Protocol):
    node: MutableSequence[_Node]
    initializer: MutableSequence[_Tensor]
    output: MutableSequence[_Named]


class _Model(Protocol):
    graph: _Graph

    def ParseFromString(self, serialized: bytes) -> int: ...
    def SerializeToString(self) -> bytes: ...


_MESSAGES = {
    "ModelProto": {"graph": (7, "GraphProto")},
    "GraphProto": {"node": (1, "NodeProto*"), "initializer": (5, "TensorProto*"), "output": (12, "ValueInfoProto*")},
    "NodeProto": {"input": (1, "string*"), "output": (2, "string*"), "op_type": (4, "string")},
    "TensorProto": {"data_type": (2, "int32"), "name": (8, "string"), "raw_data": (9, "bytes")},
    "ValueInfoProto": {"name": (1, "string")},
}
"""Number and type of each field; ``*``: repeated."""


def without_mask(model: bytes) -> bytes | None:
    """An ONNX file of the stage ``encoder`` without its mask; None where there is none that can be left out.

    Its results are those of the file for features [batch, frames, channels] of which no clip has fewer frames.
    """
    parsed = _parse(model)
    graph = parsed.graph
    masks = _Masks(graph)
    added = {node.output[0]: scores for node in graph.node if (scores := masks.scores(node))}
    if not added:
        return None
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = added.get(name, name)
    _drop_unread(graph)
    return parsed.SerializeToString()


class _Masks:
    """Finds what masks in a graph."""

    def __init__(self, graph: _Graph) -> None:
        self._sources: Mapping[str, _Node] = {name: node for node in graph.node for name in node.output}
        self._readers = Counter(name for node in graph.node for name in node.input)
        self._softmax = {node.input[0] for node in graph.node if node.op_type == "Softmax"}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}

    def scores(self, node: _Node) -> str | None:
        """What a node adds a mask to; None for any other node."""
        if node.op_type != "Add" or node.output[0] not in self._softmax or self._readers[node.output[0]] != 1:
            return None
        for scores, mask in (node.input, reversed(node.input)):
            if self._hides_only_padding(mask):
                return scores
        return None

    def _hides_only_padding(self, name: str) -> bool:
        where = self._source(name)
        if where is None or where.op_type != "Where":
            return False
        inside, kept, _ = where.input
        less = self._source(inside)
        if less is None or less.op_type != "Less" or not self._is_constant(kept, 0):
            return False
        frame, lengths = less.input
        counted = self._source(frame)
        if counted is None or counted.op_type != "Range" or self._origin(lengths) != FEATURE_LENGTHS:
            return False
        first, _, step = counted.input
        return self._is_constant(first, 0) and self._is_constant(step, 1)

    def _origin(self, name: str) -> str:
        """The tensor whose numbers a tensor has."""
        while (node := self._sources.get(name)) is not None and node.op_type in _SAME_NUMBERS:
            name = node.input[0]
        return name

    def _source(self, name: str) -> _Node | None:
        return self._sources.get(self._origin(name))

    def _is_constant(self, name: str, value: int) -> bool:
        constant = self._constants.get(self._origin(name))
        if constant is None or constant.data_type not in _TYPES:
            return False
        values = np.frombuffer(constant.raw_data, _TYPES[constant.data_type])
        return bool(values.size and (values == value).all())


def _drop_unread(graph: _Graph) -> None:
    """Remove the nodes, and from the last to the first those before them, whose outputs nothing reads."""
    read = {output.name for output in graph.output}
    for place in range(len(graph.node) - 1, -1, -1):
        node = graph.node[place]
        if read.isdisjoint(node.output):
            del graph.node[place]
        else:
            read.update(node.input)


def _parse(model: bytes) -> _Model:
    parsed = _message()
    parsed.ParseFromString(model)
    return parsed


def _message() -> _Model:
    return cast(_Model, _model_class()())


@functools.cache
def _model_class() -> type:
    """The class of an ONNX file with the fields of ``_MESSAGES``, in a pool apart from the package onnx's."""
    file = descriptor_pb2.FileDescriptorProto(name="wav2edge.proto", package="onnx")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated, kind = kind.endswith("*"), kind.removesuffix("*")
            entry = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _MESSAGES:
                entry.type, entry.type_name = entry.TYPE_MESSAGE, f".onnx.{kind}"
            else:
                entry.type = getattr(entry, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return cast(type, message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx.ModelProto")))
