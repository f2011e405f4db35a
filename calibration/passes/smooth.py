"""Move outliers from activations into weights, without changing what the graph computes.

Each fold divides a tensor's channels by a scale and multiplies the weights that read them by the same scale:
1. norm: a LayerNormalization that only linear layers read (pre-norm layers, the feature projection):
   into its weight and bias, and into the rows of the layers (SmoothQuant, Xiao et al., 2023).
2. values: attention is linear in its values: out of the value projection, into the output projection's rows.
3. scores: queries divided, keys multiplied, so that both use their range equally (cross-layer equalisation,
   Nagel et al., 2019).
Scales are |activation|^a / |weight|^(1-a) by channel (a = 0.5), and 1 where a channel is always zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...graphs.graph import SHAPE_ONLY, Graph
from ..sites import Site, linear_bias

ALPHA = 0.5
"""How much of the difficulty moves from activations to weights: SmoothQuant's default (Xiao et al., 2023)."""
SILENT = 2.0**-24
"""A channel or a weight's row whose largest magnitude is below this is zero: fp16 rounds it to zero."""
Channels: TypeAlias = NDArray[np.float32]
FoldKind: TypeAlias = Literal["norm", "values", "scores"]


@dataclass(frozen=True)
class Fold:
    """One place to fold."""

    kind: FoldKind
    path: str
    """The module that writes the tensor."""
    tensors: tuple[str, ...]
    """The activations whose channels (last axis) determine the scale."""
    sources: tuple[str, ...]
    """The nodes that are divided (for ``scores`` the second is multiplied)."""
    readers: tuple[str, ...]
    """The MatMul nodes whose rows are multiplied; none for ``scores``."""


def find_folds(graph: Graph, sites: Sequence[Site]) -> tuple[Fold, ...]:
    """Every place of the graph where a fold changes nothing but rounding."""
    linear = {site.node: site for site in sites if site.kind == "linear"}
    folds = []
    for node in graph.nodes:
        if node.op_type == "LayerNormalization" and len(node.input) == 3 and node.output[0] not in graph.outputs:
            readers = graph.readers(node.output[0])
            if readers and all(reader.name in linear for reader in readers):
                names = tuple(reader.name for reader in readers)
                folds.append(Fold("norm", _path(node.name), (node.output[0],), (node.name,), names))
    for site in sites:
        if site.kind != "attention":
            continue
        adds = [_projection(graph, anchor) for anchor in site.anchors]
        if site.path.endswith(".scores") and all(adds) and adds[0] != adds[1]:
            folds.append(Fold("scores", site.path, site.anchors, tuple(str(add) for add in adds), ()))
        elif site.path.endswith(".values") and adds[1]:
            reader = _only_linear_reader(graph, site.output, linear)
            if reader is not None:
                folds.append(Fold("values", site.path, (linear[reader].activations[0],), (str(adds[1]),), (reader,)))
    return tuple(folds)


def fold_outliers(graph: Graph, folds: Iterable[Fold], maxima: Mapping[str, Channels], alpha: float = ALPHA) -> int:
    """Apply the folds in place; ``maxima`` holds the largest magnitude by channel of each fold's tensors."""
    count = 0
    for fold in folds:
        if fold.kind == "scores":
            query, key = (maxima[name] for name in fold.tensors)
            if query.shape != key.shape:
                continue
            scale = fold_scale(query, key, 0.5)
            scale_output(graph, fold.sources[0], (1 / scale).astype(np.float32))
            scale_output(graph, fold.sources[1], scale)
        else:
            weights = [graph.floats(graph.node(name).input[1]) for name in fold.readers]
            largest = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
            if largest.shape != maxima[fold.tensors[0]].shape:
                continue
            scale = fold_scale(maxima[fold.tensors[0]], largest, alpha)
            scale_output(graph, fold.sources[0], (1 / scale).astype(np.float32))
            for name in fold.readers:
                node = graph.node(name)
                graph.own_weight(node, 1)
                graph.weights[node.input[1]] = graph.floats(node.input[1]) * scale[:, None]
        count += 1
    return count


def fold_scale(activation: Channels, weight: Channels, alpha: float) -> Channels:
    """The number that each channel is divided by; their geometric mean is 1.

    Both stay bounded: activation / scale and weight · scale equal the geometric mean of the two (at alpha 0.5).
    """
    silent = (activation < SILENT) | (weight < SILENT)
    scale = np.power(np.maximum(activation, SILENT), alpha) / np.power(np.maximum(weight, SILENT), 1 - alpha)
    scale /= np.exp(np.log(scale[~silent]).mean()) if not silent.all() else 1.0
    return np.where(silent, 1.0, scale).astype(np.float32)


def scale_output(graph: Graph, name: str, factor: Channels) -> None:
    """Scale the output channels of a LayerNormalization, or of the linear layer that ends in this Add."""
    node = graph.node(name)
    if node.op_type == "LayerNormalization":
        places = [(node, 1), (node, 2)]
    else:
        product, bias = linear_bias(graph, node) or (None, "")
        assert product is not None
        places = [(node, list(node.input).index(bias)), (product, 1)]
    for owner, position in places:
        graph.own_weight(owner, position)
        owner = graph.node(owner.name)
        graph.weights[owner.input[position]] = graph.floats(owner.input[position]) * factor


def _projection(graph: Graph, tensor: str) -> str | None:
    """The Add that ends the linear layer writing ``tensor``, where nothing else reads it."""
    node = graph.producer.get(tensor)
    if node is None or node.op_type != "Add" or linear_bias(graph, node) is None or len(graph.readers(tensor)) != 1:
        return None
    return str(node.name)


def _only_linear_reader(graph: Graph, tensor: str, linear: Mapping[str, Site]) -> str | None:
    while True:
        readers = graph.readers(tensor)
        if len(readers) != 1 or tensor in graph.outputs:
            return None
        if readers[0].op_type == "MatMul":
            return str(readers[0].name) if readers[0].name in linear else None
        if readers[0].op_type not in SHAPE_ONLY:
            return None
        tensor = readers[0].output[0]


def _path(node: str) -> str:
    return ".".join(node.strip("/").split("/")[:-1])
