"""The parts of an ONNX graph that passes use, as types, and functions that read a node's attributes.

onnx describes its protobuf classes, but protobuf's containers have no types of their own, so ``node.input`` would be
``Any`` everywhere. These protocols type what this package uses of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import TensorProto

Tensor: TypeAlias = NDArray[np.generic]
"""A tensor's numbers, of the type that the graph gives them; ``Graph.floats`` gives those of a float32 weight."""


class Attribute(Protocol):
    """An attribute of a node (``onnx.AttributeProto``); which field is set depends on its kind."""

    name: str
    i: int
    f: float
    s: bytes

    @property
    def ints(self) -> MutableSequence[int]:
        """A list of integers, such as a convolution's strides."""

    @property
    def t(self) -> TensorProto:
        """A tensor, such as the value of a Constant."""


class Node(Protocol):
    """An operator of a graph (``onnx.NodeProto``): it reads the tensors ``input`` and writes the tensors ``output``."""

    name: str
    op_type: str
    domain: str

    @property
    def input(self) -> MutableSequence[str]:
        """The names of the tensors it reads; an empty name is an optional one that is left out."""

    @property
    def output(self) -> MutableSequence[str]:
        """The names of the tensors it writes."""

    @property
    def attribute(self) -> Sequence[Attribute]:
        """Its attributes; one that is left out has the operator's default."""


class Nodes(Protocol):
    """The nodes of a graph, in topological order."""

    def __iter__(self) -> Iterator[Node]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Node: ...
    def __delitem__(self, index: int | slice) -> None: ...

    def append(self, node: Node) -> None:
        """Add one at the end."""

    def extend(self, nodes: Iterable[Node]) -> None:
        """Add several at the end."""


def make_node(
    operator: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str,
    domain: str | None = None,
    **attributes: object,
) -> Node:
    """A new node; attributes are what ``onnx.helper.make_node`` takes: numbers, strings, tensors and lists of them."""
    from onnx import helper

    node: Node = helper.make_node(operator, inputs, outputs, name, None, domain, None, **attributes)
    return node


def attribute(node: Node, name: str) -> Attribute | None:
    """The attribute of that name; None where the node leaves it out."""
    return next((found for found in node.attribute if found.name == name), None)


def integers(node: Node, name: str) -> list[int] | None:
    """The list of integers in an attribute, such as a Transpose's ``perm``; None where the node leaves it out."""
    found = attribute(node, name)
    return None if found is None else list(found.ints)


def integer(node: Node, name: str) -> int | None:
    """The integer in an attribute, such as a Cast's ``to``; None where the node leaves it out."""
    found = attribute(node, name)
    return None if found is None else found.i


def rename_inputs(nodes: Iterable[Node], names: Mapping[str, str]) -> None:
    """Let these nodes read other tensors: each old name of ``names`` becomes the new one.

    For nodes that are not in a graph yet; within one use ``Graph.replace_uses`` or ``Graph.rename``, which update its
    look-ups.
    """
    for node in nodes:
        _rename(node.input, names)


def rename_outputs(nodes: Iterable[Node], names: Mapping[str, str]) -> None:
    """Let these nodes write other tensors: each old name of ``names`` becomes the new one."""
    for node in nodes:
        _rename(node.output, names)


def scalar(values: Tensor) -> float | None:
    """The number of a one-element floating-point tensor; None for any other."""
    return float(values.reshape(-1)[0]) if values.size == 1 and np.issubdtype(values.dtype, np.floating) else None


def inside_norm(node: Node) -> bool:
    """Whether a node belongs to a norm, whose products and sums are statistics that must stay in FP32.

    A log-mel front end (export/log_mel.py) counts too: its bands differ by 90 dB and are normalised likewise. The
    waveform's own norm is one as well (export/modules.py, and export/onnx_graph.py around other exporters' graphs).
    """
    return any(part in node.name for part in ("/layer_norm/", "/log_mel/", "/waveform_norm/"))


def _rename(tensors: MutableSequence[str], names: Mapping[str, str]) -> None:
    for position, tensor in enumerate(tensors):
        if tensor in names:
            tensors[position] = names[tensor]
