"""Fuse GELU as exporters write it into one operator.

1. The pattern is Mul(Mul(x, 1 + Erf(x / √2)), 1/2) in any order of the factors (torch's exact GELU at opset 17).
2. It becomes ``com.microsoft.Gelu``, which ONNX Runtime and OpenVINO have. ONNX Runtime fuses GELU by itself, but not
   after a DequantizeLinear: it copies that for each reader, and then does not recognise the pattern.
"""

from __future__ import annotations

from ...graphs.graph import Graph, use_domain
from ...graphs.nodes import Node, make_node, scalar

DOMAIN = "com.microsoft"
_ROOT_OF_TWO = 2**0.5
_ROUNDING = 1e-6
"""How far a constant of the graph may be from the exact number: some steps of fp32 at 1."""


def fuse_gelu(graph: Graph) -> int:
    """Fuse every GELU; returns how many."""
    fused = 0
    for erf in [node for node in graph.nodes if node.op_type == "Erf"]:
        found = _match(graph, erf)
        if found is None:
            continue
        source, last, inner = found
        gelu = make_node("Gelu", [source], [last.output[0]], _name(erf.name), domain=DOMAIN)
        graph.substitute(last, [gelu], gone=inner)
        fused += 1
    if fused:
        use_domain(graph, DOMAIN)
    return fused


def _match(graph: Graph, erf: Node) -> tuple[str, Node, list[Node]] | None:
    """A GELU's input, its last node, and the nodes before that; None where ``erf`` is not part of a GELU."""
    scaled = graph.producer.get(erf.input[0])
    if scaled is None or not (
        _with_number(graph, scaled, "Div", _ROOT_OF_TWO) or _with_number(graph, scaled, "Mul", 1 / _ROOT_OF_TWO)
    ):
        return None
    source = next(name for name in scaled.input if name not in graph.weights)
    plus = _only_reader(graph, erf.output[0])
    if plus is None or not _with_number(graph, plus, "Add", 1.0):
        return None
    first = _only_reader(graph, plus.output[0])
    if first is None or first.op_type != "Mul":
        return None
    last = _only_reader(graph, first.output[0])
    if source in first.input and last is not None and _with_number(graph, last, "Mul", 0.5):
        return source, last, [scaled, erf, plus, first]
    halved = graph.producer.get(next(name for name in first.input if name != plus.output[0]))
    if halved is not None and source in halved.input and _with_number(graph, halved, "Mul", 0.5):
        return source, first, [scaled, erf, plus, halved]
    return None


def _with_number(graph: Graph, node: Node, operator: str, number: float) -> bool:
    """Whether a node is this operator with one constant, and that is the number."""
    if node.op_type != operator:
        return False
    found = [scalar(graph.weights[name]) for name in node.input if name in graph.weights]
    return len(found) == 1 and found[0] is not None and abs(found[0] - number) < _ROUNDING


def _only_reader(graph: Graph, tensor: str) -> Node | None:
    readers = graph.readers(tensor)
    return readers[0] if len(readers) == 1 and tensor not in graph.outputs else None


def _name(erf: str) -> str:
    return f"{erf.rsplit('/', 1)[0]}/Gelu" if "/" in erf else f"{erf}_Gelu"
