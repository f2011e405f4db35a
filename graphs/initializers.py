"""Take the weights out of a graph: initialisers, constants, and nodes that only copy or cast a weight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .nodes import Node, Tensor, integer, rename_inputs
from .storage import mapped

if TYPE_CHECKING:
    from onnx import ModelProto

_FLOAT = 1
"""``onnx.TensorProto.FLOAT``, the target of a Cast to fp32."""


def take_weights(model: ModelProto, folder: Path | None) -> tuple[ModelProto, dict[str, Tensor], set[str]]:
    """A graph without weights, its weights by name, and the names of those that were stored as fp16.

    folder: where weights outside the graph's file are; None: all are in memory. ``model`` loses its initialisers.
    """
    import onnx
    from onnx import numpy_helper

    weights: dict[str, Tensor] = {}
    from_half: set[str] = set()
    for tensor in model.graph.initializer:
        if folder is not None and tensor.data_location == onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = mapped(tensor, folder)
        else:
            weights[tensor.name] = numpy_helper.to_array(tensor)
    del model.graph.initializer[:]
    del model.graph.value_info[:]
    # A message holds the memory of what was deleted from it as long as it exists, so a new one is made.
    result = onnx.ModelProto()
    result.CopyFrom(model)
    outputs = {value.name for value in result.graph.output}
    nodes: list[Node] = []
    same: dict[str, str] = {}
    for node in result.graph.node:
        rename_inputs([node], same)
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.output[0] in outputs or not node.input or node.input[0] not in weights:
            nodes.append(node)
        elif node.op_type == "Identity":
            same[node.output[0]] = node.input[0]
        elif not _take_cast(node, weights, from_half):
            nodes.append(node)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result, weights, from_half


def _take_cast(node: Node, weights: dict[str, Tensor], from_half: set[str]) -> bool:
    """Store the result of a Cast from an fp16 weight as an fp32 weight; False for any other node."""
    source, result = node.input[0], node.output[0]
    if node.op_type != "Cast":
        return False
    # Casts of this name were made by storage.py, which stores again in fp16 every weight that fp16 holds exactly.
    stored_in_half = node.name.endswith("_cast") and source.endswith("_float16")
    if not stored_in_half:
        if integer(node, "to") != _FLOAT or weights[source].dtype != np.float16:
            return False
        from_half.add(result)
    weights[result] = weights[source].astype(np.float32)
    return True
