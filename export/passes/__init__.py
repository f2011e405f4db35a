"""Graph passes between the exporter and the bundle, one in each file; each keeps the graph's results.

``tidy`` runs them in order. All work in place on graphs.graph.Graph.
"""

from __future__ import annotations

from ...graphs.graph import Graph
from .fold_attention_scale import fold_attention_scale
from .fold_padding import fold_padding
from .name_values import name_values
from .name_weights import name_weights
from .static_reshapes import static_reshapes


def tidy(graph: Graph) -> dict[str, int]:
    """Run every pass; returns how often each found something to do."""
    done = {
        "name_values": name_values(graph),
        "name_weights": name_weights(graph),
        "fold_attention_scale": fold_attention_scale(graph),
        "fold_padding": fold_padding(graph),
        "static_reshapes": static_reshapes(graph),
    }
    graph.drop_unused()
    return done
