"""Give marked values their names.

1. A node ``wav2edge.Name`` copies a value and names it (export/operators.py): it is removed, its input takes the name.
2. Where one of the two is an input or an output of the graph, that keeps its name: the node becomes an Identity.
3. The domain ``wav2edge`` is removed with the last of them.
"""

from __future__ import annotations

from ...graphs.graph import Graph
from ..marks import DOMAIN, NAME


def name_values(graph: Graph) -> int:
    """Remove every mark; returns how many there were."""
    from onnx import helper

    marks = [node for node in graph.nodes if node.domain == DOMAIN and node.op_type == NAME]
    fixed = graph.outputs | {value.name for value in graph.model.graph.input}
    for node in marks:
        name = next(attribute.s.decode() for attribute in node.attribute if attribute.name == "name")
        source, copy = node.input[0], node.output[0]
        if copy in fixed or source in fixed:
            start, end = (name, copy) if copy in fixed else (source, name)
            graph.rename(copy if end == name else source, name)
            graph.replace_uses(copy, name)
            graph.substitute(node, [helper.make_node("Identity", [start], [end], node.name)])
            continue
        graph.substitute(node, [])
        graph.rename(source, name)
        graph.rename(copy, name)
    kept = [entry for entry in graph.model.opset_import if entry.domain != DOMAIN]
    del graph.model.opset_import[:]
    graph.model.opset_import.extend(kept)
    return len(marks)
