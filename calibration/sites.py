"""The operators of this family's graphs that can be quantised: convolutions, linear layers and attention products."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias

from wav2edge.runtime.errors import InputError

from ..graphs.graph import Graph
from ..graphs.nodes import Node, inside_norm

SiteKind: TypeAlias = Literal["convolution", "linear", "attention"]
"""A convolution, a matrix product with a weight, or one of two activations (attention's scores and values)."""


@dataclass(frozen=True)
class Site:
    """One operator that can compute in INT8."""

    node: str
    """Its name in the graph."""
    path: str
    """The module path in the checkpoint, such as ``encoder.layers.3.attention.q_proj``."""
    kind: SiteKind
    activations: tuple[str, ...]
    """The tensors it reads."""
    anchors: tuple[str, ...]
    """The same numbers above shape-only operators, where a quantiser may be put as well."""
    output: str
    """The tensor it writes."""
    weight: str | None = None
    """The initialiser of its weight; None for a product of two activations."""
    bias: str | None = None
    """The initialiser of a convolution's bias; None where it has none."""
    parameters: int = 0
    """How many numbers its weight holds."""

    @property
    def layer(self) -> str:
        """The block it belongs to: one convolution, or one half (attention, feed-forward) of a transformer layer."""
        match = re.match(r"(.*\blayers?\.\d+\.[a-z_0-9]+|.*\bconv_layers\.\d+)\b", self.path)
        return match.group(1) if match else self.path


def module_path(node: str) -> str:
    """A node's module path: ``/encoder/layers.0/attention/MatMul_1`` → ``encoder.layers.0.attention.values``.

    A module inside another of the same name counts once, so that layers have the same names with and without a wrapper.
    """
    parts = [name for name, _ in groupby(node.strip("/").split("/"))]
    head, last = parts[:-1], parts[-1]
    if last.startswith("MatMul") and head and head[-1] in ("attention", "self_attn"):
        head = [*head, "values" if last != "MatMul" else "scores"]
    if head and head[-1] == "conv":
        head = head[:-1]
    return ".".join(head) if head else node


def is_linear(graph: Graph, node: Node) -> bool:
    """Whether a node is the product of a linear layer: by a weight, not by another tensor."""
    return node.op_type == "MatMul" and node.input[1] in graph.weights


def linear_bias(graph: Graph, add: Node) -> tuple[Node, str] | None:
    """The MatMul with a weight and the bias that an Add joins; None where it joins something else."""
    first, second = add.input
    for product_name, bias in ((first, second), (second, first)):
        product = graph.producer.get(product_name)
        if bias in graph.weights and product is not None and product.op_type == "MatMul":
            return (product, bias) if product.input[1] in graph.weights else None
    return None


def find_sites(graph: Graph) -> tuple[Site, ...]:
    """Every Conv and MatMul of the graph that works on floating-point activations, in the graph's order."""
    found = []
    for node in graph.nodes:
        if inside_norm(node):
            continue
        if node.op_type == "Conv" and node.input[1] in graph.weights:
            bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
            found.append(_site(graph, node, "convolution", (node.input[0],), node.input[1], bias))
        elif node.op_type == "MatMul" and node.input[1] in graph.weights:
            if graph.weights[node.input[1]].ndim != 2:
                continue  # a constant for each head (SEW-D's positions): no kernel has scales along its last axis
            found.append(_site(graph, node, "linear", (node.input[0],), node.input[1], None))
        elif node.op_type == "MatMul" and node.input[0] not in graph.weights:
            found.append(_site(graph, node, "attention", tuple(node.input), None, None))
    return tuple(found)


def match_sites(sites: Sequence[Site], patterns: Iterable[str]) -> frozenset[str]:
    """The node names of the sites whose module path a pattern (a path or a regular expression) matches.

    A pattern matches whole parts of the path, between two dots or at an end, so ``layers.1`` is not layer 11.
    Raises InputError for an invalid regular expression, and for a pattern that matches nothing.
    """
    names: set[str] = set()
    for pattern in patterns:
        try:
            expression = re.compile(rf"(?:^|\.)(?:{pattern})(?:\.|$)")
        except re.error as error:
            raise InputError(f"keep_float {pattern!r}: invalid regular expression ({error})") from error
        found = {site.node for site in sites if expression.search(site.path)}
        if not found:
            known = sorted({site.layer for site in sites})
            shown = ", ".join(known[:4]) + (" …" if len(known) > 4 else "")
            raise InputError(f"keep_float {pattern!r} matches no layer; there are {shown}")
        names |= found
    return frozenset(names)


def _site(
    graph: Graph, node: Node, kind: SiteKind, activations: tuple[str, ...], weight: str | None, bias: str | None
) -> Site:
    size = int(graph.weights[weight].size) if weight is not None else 0
    anchors = tuple(graph.anchor(name) for name in activations)
    return Site(node.name, module_path(node.name), kind, activations, anchors, node.output[0], weight, bias, size)
