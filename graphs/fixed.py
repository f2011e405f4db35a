"""A graph for clips of one fixed length, as compilers for neural processors require it: every shape is a number.

1. The inputs get fixed dimensions; shapes are inferred (onnx's own inference, which needs no weights).
2. ``Shape`` of a tensor whose dimensions are known becomes a constant, and so does whatever follows from constants
   alone; again from 1 until nothing changes.
3. Operators outside the standard become standard ones: ``com.microsoft.Gelu`` its four.
4. ``Pad`` by nothing and ``Slice`` of everything are dropped.
5. A tensor that is left without a fixed shape is an error that names it.
"""

from __future__ import annotations

import numpy as np

from ..runtime.bundle.spec import INPUT_LENGTHS, INPUT_VALUES
from ..runtime.errors import BundleError
from .graph import Graph
from .nodes import Node, Nodes, Tensor, integer, make_node

_SMALL = 1 << 16
"""Bytes above which shape inference gets only a weight's type and dimensions, not its values."""
_MOST_ROUNDS = 20
"""Rounds of rules 1 and 2. A graph of this family needs three: batch and samples, then frames, then shapes of these."""
_ROOT_OF_TWO = np.float32(2**0.5)


def fix_length(graph: Graph, samples: int, batch: int = 1) -> None:
    """Fix the inputs to [batch, samples] and [batch], and every other shape with them.

    Raises BundleError naming a tensor whose shape still depends on the input.
    """
    standard_operators(graph)
    _fix(graph, INPUT_VALUES, (batch, samples))
    _fix(graph, INPUT_LENGTHS, (batch,))
    for _ in range(_MOST_ROUNDS):
        shapes = infer_shapes(graph)
        if not _fold(graph, shapes):
            break
    _drop_idle(graph, shapes)
    graph.drop_unused()
    _write_shapes(graph, shapes)


def standard_operators(graph: Graph) -> None:
    """Write ``com.microsoft.Gelu`` as Div, Erf, Add and two Mul, and drop domains that are then unused."""
    for node in [node for node in graph.nodes if node.op_type == "Gelu" and node.domain]:
        name, source = node.name, node.input[0]
        root, one, half = (graph.free_weight_name(f"{name}/{part}") for part in ("root", "one", "half"))
        graph.weights.update({root: _ROOT_OF_TWO, one: np.float32(1.0), half: np.float32(0.5)})
        parts = [f"{name}/{part}" for part in ("scaled", "erf", "plus", "product")]
        graph.substitute(
            node,
            [
                make_node("Div", [source, root], [parts[0]], parts[0]),
                make_node("Erf", [parts[0]], [parts[1]], parts[1]),
                make_node("Add", [parts[1], one], [parts[2]], parts[2]),
                make_node("Mul", [source, parts[2]], [parts[3]], parts[3]),
                make_node("Mul", [parts[3], half], [node.output[0]], f"{name}/halved"),
            ],
        )
    used = {node.domain for node in graph.nodes}
    imports = graph.model.opset_import
    for place in reversed([n for n, entry in enumerate(imports) if entry.domain and entry.domain not in used]):
        del imports[place]


def widen_biases(graph: Graph) -> None:
    """Give biases of products three dimensions, so that ONNX Runtime does not join product and bias.

    Where shapes are fixed it makes one operator of them (its MatMulAddFusion), which rounds INT8 otherwise than the
    graph of any length does. For activations without a sign: with one, the bias is part of a later fusion that takes
    one dimension only.
    """
    for node in [node for node in graph.nodes if node.op_type == "Add"]:
        for position, name in enumerate(node.input):
            product = graph.producer.get(node.input[1 - position])
            bias = name in graph.weights and graph.weights[name].ndim == 1
            if bias and product is not None and product.op_type == "MatMul":
                wide = graph.free_weight_name(f"{name}/wide")
                graph.weights[wide] = graph.weights[name].reshape(1, 1, -1)
                node.input[position] = wide
    graph.refresh()


def infer_shapes(graph: Graph) -> dict[str, tuple[int | None, ...]]:
    """The shapes of all tensors that onnx can infer; None for a dimension that is not known."""
    import onnx
    from onnx import helper, numpy_helper

    bare = onnx.ModelProto()
    bare.CopyFrom(graph.model)
    for name, values in graph.weights.items():
        if values.nbytes <= _SMALL:
            bare.graph.initializer.append(numpy_helper.from_array(values, name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            bare.graph.input.append(helper.make_tensor_value_info(name, kind, values.shape))
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    found: dict[str, tuple[int | None, ...]] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if value.type.tensor_type.HasField("shape"):
            dimensions = value.type.tensor_type.shape.dim
            found[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dimensions)
    return found


def _fix(graph: Graph, name: str, shape: tuple[int, ...]) -> None:
    for value in graph.model.graph.input:
        if value.name == name:
            for dimension, size in zip(value.type.tensor_type.shape.dim, shape):
                dimension.dim_value = size


def _fold(graph: Graph, shapes: dict[str, tuple[int | None, ...]]) -> int:
    """Apply rule 2 once through the graph; returns how many nodes became constants."""
    kept: list[Node] = []
    known: set[str] = set()
    for node in graph.nodes:
        values = _constant(graph, node, shapes, known)
        if values is None or node.output[0] in graph.outputs:
            kept.append(node)
            continue
        graph.weights[node.output[0]] = values
        known.add(node.output[0])
    folded = len(graph.nodes) - len(kept)
    graph.replace_nodes(kept)
    return folded


def _drop_idle(graph: Graph, shapes: dict[str, tuple[int | None, ...]]) -> None:
    """Apply rule 4."""
    for node in [node for node in graph.nodes if node.op_type in ("Pad", "Slice")]:
        if node.output[0] not in graph.outputs and _is_idle(graph, node, shapes):
            graph.bypass(node, node.input[0])


def _is_idle(graph: Graph, node: Node, shapes: dict[str, tuple[int | None, ...]]) -> bool:
    if node.op_type == "Pad":
        return node.input[1] in graph.weights and not graph.weights[node.input[1]].any()
    forwards = len(node.input) < 5 or (
        node.input[4] in graph.weights and bool((graph.weights[node.input[4]] == 1).all())
    )
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    return forwards and before is not None and None not in before and before == after


def _constant(graph: Graph, node: Node, shapes: dict[str, tuple[int | None, ...]], known: set[str]) -> Tensor | None:
    """A node's result, where it does not depend on the input; None for any other node, and for those of weights."""
    if node.op_type == "Shape":
        shape = graph.weights[node.input[0]].shape if node.input[0] in graph.weights else shapes.get(node.input[0])
        if shape is None or None in shape:
            return None
        return np.array(shape[integer(node, "start") or 0 : integer(node, "end")], dtype=np.int64)
    reads = [name for name in node.input if name]
    if len(node.output) > 1 or not all(name in graph.weights for name in reads):
        return None
    if not known.intersection(reads) and any(graph.weights[name].dtype.kind == "f" for name in reads):
        return None  # a weight and its scale: to be stored as they are
    if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        return None
    return _evaluated(graph, node, reads)


def _evaluated(graph: Graph, node: Node, reads: list[str]) -> Tensor:
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    weights = [numpy_helper.from_array(graph.weights[name], name) for name in dict.fromkeys(reads)]
    result = helper.make_empty_tensor_value_info(node.output[0])
    single = helper.make_graph([], "constant", [], [result], weights)
    nodes: Nodes = single.node
    nodes.append(node)
    model = helper.make_model(single, opset_imports=list(graph.model.opset_import))
    (values,) = list(ReferenceEvaluator(model).run(None, {}))
    return np.asarray(values)


def _write_shapes(graph: Graph, shapes: dict[str, tuple[int | None, ...]]) -> None:
    """Write the outputs' shapes; raises BundleError where a tensor has none."""
    for node in graph.nodes:
        for name in node.output:
            if name and (name not in shapes or None in shapes[name]):
                raise BundleError(
                    f"{name} (written by {node.op_type} {node.name}) has no fixed shape; this model cannot be packed "
                    "for a fixed length"
                )
    for value in graph.model.graph.output:
        dimensions = value.type.tensor_type.shape
        del dimensions.dim[:]
        for size in shapes[value.name]:
            dimensions.dim.add().dim_value = size or 0
