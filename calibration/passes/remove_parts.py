"""Remove layers, heads and inner units from a graph, and fit what remains to what the whole computed.

1. Units of a branch: the columns of the layers that write them and the rows of the layer that reads them go. The rows
   that stay, and the bias, become those that reproduce the branch's output with the least squared error on the
   calibration speech (Optimal Brain Surgeon; Hassibi and Stork, 1993).
2. A layer: one linear layer takes its place, the one with the least squared error.
Nothing is trained: both are solutions of linear equations. Without moments of the speech, rows are left as they are,
and a layer is replaced by the identity, which changes no shape and costs the same time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...graphs.graph import Graph
from ...graphs.nodes import make_node
from ..parts import Branch, Layer, Removal, bias_of, find_branches, find_layers

RIDGE = 1e-4
"""Added to the diagonal of a covariance, as a share of its mean: a channel that is constant on the calibration speech
then gets no weight."""

Matrix = NDArray[np.float64]


class Moments:
    """Means and covariances of pairs of tensors' rows, from sums over the speech."""

    def __init__(self) -> None:
        """Begin without rows."""
        self._rows = 0
        self._sums: tuple[Matrix, Matrix] | None = None
        self._products: NDArray[np.float32] | None = None  # of 3 072 units 38 MB

    def add(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        """Take rows [rows, channels] of both."""
        sums = first.sum(axis=0, dtype=np.float64), second.sum(axis=0, dtype=np.float64)
        products = first.T @ second
        if self._sums is None or self._products is None:
            self._sums, self._products = sums, products
        else:
            self._sums = self._sums[0] + sums[0], self._sums[1] + sums[1]
            self._products += products
        self._rows += len(first)

    @property
    def means(self) -> tuple[Matrix, Matrix]:
        """The mean of both [channels]."""
        assert self._sums is not None
        return self._sums[0] / self._rows, self._sums[1] / self._rows

    @property
    def covariance(self) -> Matrix:
        """[channels of the first, channels of the second]."""
        assert self._products is not None
        first, second = self.means
        covariance: Matrix = self._products.astype(np.float64) / self._rows - np.outer(first, second)
        return covariance


@dataclass(frozen=True)
class Seen:
    """What the calibration speech showed of a part: its rows with themselves, and with what it should write."""

    own: Moments
    target: Moments | None = None
    """None for a branch, whose output follows from its weight."""


def remove_parts(graph: Graph, removal: Removal, seen: Mapping[str, Seen] | None = None) -> None:
    """Remove in place; ``seen`` holds the moments by path, None where only the time counts."""
    for branch in find_branches(graph):
        if branch.path in removal.units and branch.layer not in removal.layers:
            remove_units(graph, branch, removal.units[branch.path], None if seen is None else seen[branch.path])
    for layer in find_layers(graph):
        if layer.path in removal.layers:
            replace_layer(graph, layer, None if seen is None else seen[layer.path])
    graph.drop_unused()


def remove_units(graph: Graph, branch: Branch, units: Iterable[int], seen: Seen | None = None) -> None:
    """Rule 1, in place."""
    units = list(units)
    gone = np.concatenate([np.arange(unit * branch.size, (unit + 1) * branch.size) for unit in units])
    kept = np.setdiff1d(np.arange(branch.units * branch.size), gone)
    if branch.kind == "heads":
        _keep_heads(graph, branch, np.setdiff1d(np.arange(branch.units), units))
    for name in branch.writers:
        node = graph.node(name)
        graph.own_weight(node, 1)
        graph.weights[node.input[1]] = np.ascontiguousarray(graph.weights[node.input[1]][:, kept])
        bias = bias_of(graph, node)
        if bias is not None:
            graph.weights[bias] = np.ascontiguousarray(graph.weights[bias][kept])
    reader = graph.node(branch.reader)
    graph.own_weight(reader, 1)
    weight, bias = graph.floats(reader.input[1]), bias_of(graph, reader)
    assert bias is not None
    if seen is None:
        graph.weights[reader.input[1]] = np.ascontiguousarray(weight[kept])
        return
    fitted, shift = fitted_rows(seen.own, weight, kept)
    graph.weights[reader.input[1]] = fitted
    graph.weights[bias] = (graph.floats(bias) + shift).astype(np.float32)


def _keep_heads(graph: Graph, branch: Branch, kept: NDArray[np.int64]) -> None:
    """What has an axis of heads between the layers of a branch."""
    for name in branch.splits:
        node = graph.node(name)
        graph.own_weight(node, 1)
        graph.weights[node.input[1]] = np.array([0, 0, -1, branch.size], np.int64)
    for name, place in branch.by_head:
        node = graph.node(name)
        graph.own_weight(node, place)
        graph.weights[node.input[place]] = np.ascontiguousarray(graph.weights[node.input[place]][:, kept])
    for number, pick in enumerate(branch.picks):
        stem = f"{branch.reader.rpartition('/')[0]}/kept_heads_{number}"
        indices = graph.free_weight_name(f"{stem}/heads")
        graph.weights[indices] = kept
        readers = [graph.node(name) for name in pick.readers]
        graph.replace_uses(pick.tensor, f"{stem}/output", readers)
        gather = make_node("Gather", [pick.tensor, indices], [f"{stem}/output"], f"{stem}/Gather", axis=pick.axis)
        graph.substitute(readers[0], [gather, readers[0]])


def fitted_rows(
    own: Moments, weight: NDArray[np.float32], kept: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The kept rows of a weight and the change of its bias with which the output changes least."""
    mean, covariance = own.means[0], own.covariance
    gone = np.setdiff1d(np.arange(len(mean)), kept)
    inside = damped(covariance[np.ix_(kept, kept)])
    moved = np.linalg.solve(inside, covariance[np.ix_(kept, gone)] @ weight[gone])
    shift = mean[gone] @ weight[gone] - mean[kept] @ moved
    return (weight[kept] + moved).astype(np.float32), shift.astype(np.float32)


def replace_layer(graph: Graph, layer: Layer, seen: Seen | None = None) -> None:
    """Rule 2, in place."""
    width = _width(graph, layer)
    weight, bias = np.eye(width, dtype=np.float32), np.zeros(width, np.float32)
    if seen is not None:
        assert seen.target is not None
        # To the identity the change of the layer is added: without correlations it stays the identity.
        change = seen.target.covariance - seen.own.covariance
        weight = (np.eye(width) + np.linalg.solve(damped(seen.own.covariance), change)).astype(np.float32)
        source, target = seen.target.means
        bias = (target - source @ weight).astype(np.float32)
    stem = "/" + re.sub(r"\.(layers?\.\d+)$", r"/\1", layer.path) + "/linear"
    names = {part: f"{stem}/{part}" for part in ("weight", "bias", "product")}
    graph.weights[names["weight"]], graph.weights[names["bias"]] = weight, bias
    last = graph.producer[layer.output]
    graph.substitute(
        last,
        [
            make_node("MatMul", [layer.source, names["weight"]], [names["product"]], f"{stem}/MatMul"),
            make_node("Add", [names["bias"], names["product"]], [layer.output], f"{stem}/Add"),
        ],
    )


def damped(covariance: Matrix) -> Matrix:
    """A covariance that can be inverted."""
    result: Matrix = covariance + RIDGE * max(float(np.diag(covariance).mean()), 1e-12) * np.eye(len(covariance))
    return result


def _width(graph: Graph, layer: Layer) -> int:
    """The width of the residual stream: of the last linear layer before the layer's output."""
    tensor = layer.output
    while (node := graph.producer[tensor]) is not None:
        if node.op_type == "MatMul":
            return int(graph.weights[node.input[1]].shape[1])
        if node.op_type == "LayerNormalization":
            return int(graph.weights[node.input[1]].shape[0])
        tensor = next(name for name in reversed(node.input) if name in graph.producer)
    raise AssertionError(f"{layer.path} has no linear layer")
