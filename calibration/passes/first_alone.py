"""Write the first convolution and its norm as one product, and leave the other convolutions as they are.

1. ONNX Runtime's INT8 convolutions are as fast as its products, so they stay. But the output of the first one is the
   graph's largest tensor, and its norm reads and writes it several times. As one product with the norm
   (first_layer.py) it is written once: at base shape, 10 s, 0.84 of the time with group norm, 0.96 with layer norm.
2. The product writes [batch, frames, channels]. Where the graph has it as [batch, channels, frames], one Transpose
   follows; ONNX Runtime, which runs INT8 convolutions channels-last, removes it.
3. With layer norm a window is multiplied by a square matrix in addition, and everything in float. Windows that are not
   short beside the number of channels would cost more than the norm, so the convolution then stays as it is.
"""

from __future__ import annotations

from ...graphs.graph import Graph
from ...graphs.nodes import make_node
from .channels_last import steps_of
from .first_layer import rewrite_first
from .windows import SWAP_LAST_AXES

_SHORT = 8
"""A window is short where the channels are at least so many times its samples: 10 samples of 512 channels are."""


def first_alone(graph: Graph) -> bool:
    """Rewrite the first convolution and its norm in place; False, and no change, where that is not done."""
    steps = steps_of(graph)
    if not steps or _SHORT * steps[0].kernel > graph.weights[steps[0].node.input[1]].shape[0]:
        return False
    trial = graph.copy()
    found = rewrite_first(trial, steps[0], exact=True)
    if found is None:
        return False
    result, declared = found
    if not declared:
        product = trial.producer[result]
        product.output[0] = f"{product.name}_rows"
        turned = make_node("Transpose", [product.output[0]], [result], f"{product.name}_turned", perm=SWAP_LAST_AXES)
        trial.replace_nodes([*trial.nodes, turned])
    trial.drop_unused()
    trial.sort()
    graph.become(trial)
    return True
