"""The parts of a transformer that can be removed: layers, heads of attention, inner units of the feed-forward."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from wav2edge.runtime.bundle.spec import INPUT_VALUES

from ..graphs.graph import Graph
from ..graphs.nodes import Node, integers
from .sites import is_linear, linear_bias, module_path
from .writers import Pick, Walk

UnitKind: TypeAlias = Literal["heads", "inner units"]
"""What a branch is made of."""

_LAYER = re.compile(r"(.*/layers?\.\d+)(?:_\d+)?/")
"""The name of a node in a layer; a second module of the name gets a number, as in ``/encoder/layers.0_1/Add``."""


@dataclass(frozen=True)
class Branch:
    """One half of a transformer layer: its attention or its feed-forward, of units that do not depend on each other."""

    path: str
    """The module path of the layer that reads the units, such as ``encoder.layers.3.attention.out_proj``."""
    writers: tuple[str, ...]
    """The MatMul nodes whose weights' columns are the units."""
    reader: str
    """The MatMul node whose weight's rows are the units; a bias follows it."""
    size: int
    """Columns of one unit: the size of a head, or 1."""
    units: int
    """How many there are."""
    splits: tuple[str, ...] = ()
    """The Reshape nodes that put the heads on an axis of their own."""
    by_head: tuple[tuple[str, int], ...] = ()
    """The weights [1, heads, …] of nodes between: the node's name and the input."""
    picks: tuple[Pick, ...] = ()
    """What else has heads: biases by relative position, and the layer's input that gates them."""

    @property
    def kind(self) -> UnitKind:
        """Heads where three projections or more write the units."""
        return "heads" if len(self.writers) >= 3 else "inner units"

    @property
    def layer(self) -> str:
        """The module path of its transformer layer."""
        return re.sub(r"(layers?\.\d+)\..*", r"\1", self.path)


@dataclass(frozen=True)
class Layer:
    """A transformer layer with one input and one output of the same width."""

    path: str
    """Its module path, such as ``encoder.layers.3``."""
    source: str
    """The tensor [batch, frames, width] that it reads."""
    output: str
    """The tensor of the same shape that it writes."""


@dataclass(frozen=True)
class Removal:
    """What is removed from a graph."""

    layers: frozenset[str] = frozenset()
    """Paths of layers that one linear layer replaces."""
    units: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The units that are removed, by the path of their branch."""

    def __bool__(self) -> bool:
        """Whether anything is removed."""
        return bool(self.layers or self.units)

    def summary(self, graph: Graph) -> str:
        """As ``1 of 12 layers, 3 of 144 heads, 384 of 36864 inner units``, of a graph that still has them."""
        branches = find_branches(graph)
        shares = [f"{len(self.layers)} of {len(find_layers(graph))} layers"]
        for kind in get_args(UnitKind):
            of_kind = [branch for branch in branches if branch.kind == kind]
            gone = sum(self.gone(branch) for branch in of_kind)
            shares.append(f"{gone} of {sum(branch.units for branch in of_kind)} {kind}")
        return ", ".join(shares)

    def gone(self, branch: Branch) -> int:
        """How many units of a branch are removed, those of a whole layer included."""
        return branch.units if branch.layer in self.layers else len(self.units.get(branch.path, ()))

    def described(self, graph: Graph) -> dict[str, str]:
        """By module path, what is removed from a graph that still has it: ``2 of 12 heads``."""
        found = dict.fromkeys(sorted(self.layers), "a linear layer in its place")
        for branch in find_branches(graph):
            if branch.path in self.units and branch.layer not in self.layers:
                found[branch.path] = f"{len(self.units[branch.path])} of {branch.units} {branch.kind} removed"
        return found


def find_layers(graph: Graph) -> tuple[Layer, ...]:
    """The transformer layers with one input, masks and positions aside, and one output of as many frames."""
    sound = _of_sound(graph)
    members: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if match := _LAYER.match(node.name):
            members.setdefault(match.group(1), []).append(node)
    found = []
    for stem, named in members.items():
        nodes = _around_linear(graph, named)
        written = {name for node in nodes for name in node.output}
        sources = sorted({name for node in nodes for name in node.input if name in sound and name not in written})
        inside = {id(node) for node in nodes}
        results = [
            name
            for name in written & sound
            if name in graph.outputs or any(id(reader) not in inside for reader in graph.consumers.get(name, []))
        ]
        if len(sources) == len(results) == 1 and results[0] not in graph.outputs and _keeps_frames(nodes):
            found.append(Layer(module_path(f"{stem}/part"), sources[0], results[0]))
    return tuple(found)


def _of_sound(graph: Graph) -> set[str]:
    """The tensors whose numbers depend on the waveform; masks depend on lengths, positions on shapes."""
    found = {INPUT_VALUES}
    for node in graph.nodes:
        if node.op_type != "Shape" and not found.isdisjoint(node.input):
            found.update(node.output)
    return found


def _around_linear(graph: Graph, nodes: Sequence[Node]) -> list[Node]:
    """Of nodes that share the name of a layer, those that hang together with a linear layer.

    Modules of convolutions only (positions, adapters) have layers too, and the graph may call them the same.
    """
    between = {name for node in nodes for name in node.output}
    more = {name for node in nodes if is_linear(graph, node) for name in (*node.input, *node.output)} & between
    reached: set[str] = set()
    while more - reached:
        reached |= more
        more = {name for node in nodes if _touches(node, reached) for name in (*node.input, *node.output)} & between
    return [node for node in nodes if _touches(node, reached)]


def _touches(node: Node, tensors: set[str]) -> bool:
    return not tensors.isdisjoint((*node.input, *node.output))


def _keeps_frames(nodes: Iterable[Node]) -> bool:
    """Whether there are as many frames after these nodes as before; not after the strides of an adapter."""
    return not any(node.op_type == "Conv" and max(integers(node, "strides") or [1]) > 1 for node in nodes)


def find_branches(graph: Graph) -> tuple[Branch, ...]:
    """Every attention and feed-forward whose units can be removed, in the graph's order."""
    adds = [node for node in graph.nodes if node.op_type == "Add" and _LAYER.match(node.name)]
    readers = [found[0] for found in (linear_bias(graph, add) for add in adds) if found is not None]
    return tuple(branch for branch in (_branch(graph, reader) for reader in readers) if branch is not None)


def bias_of(graph: Graph, product: Node) -> str | None:
    """The bias of a linear layer; None where it has none."""
    for node in graph.readers(product.output[0]):
        found = linear_bias(graph, node) if node.op_type == "Add" else None
        if found is not None:
            return found[1]
    return None


def _branch(graph: Graph, reader: Node) -> Branch | None:
    """The branch that a linear layer ends; None where it does not end one."""
    walk = Walk(graph)
    if not walk.up(reader.input[0]) or not walk.closed(reader):
        return None
    width = int(graph.weights[reader.input[1]].shape[0])
    if any(graph.weights[node.input[1]].shape[1] != width for node in walk.writers):
        return None
    heads = {width // -count if count < 0 else count for count in walk.heads}
    if len(heads) > 1 or (len(walk.writers) >= 3) != bool(heads) or len(walk.writers) == 2:
        return None
    units = next(iter(heads), width)
    if units < 2 or width % units:
        return None
    names = tuple(node.name for node in walk.writers)
    found = Branch(module_path(reader.name), names, reader.name, width // units, units)
    return dataclasses.replace(found, splits=tuple(walk.splits), by_head=tuple(walk.by_head), picks=walk.picks(reader))
