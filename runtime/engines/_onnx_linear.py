"""INT8 linear layers with their bias as ONNX Runtime's one operator for both, MatMulIntegerToFloat.

ONNX Runtime makes this operator of the product when it loads a file, but adds the bias in an operator of its own, which
reads and writes the layer's result again. Joined, the numbers are the same (benchmarks/attention.py).

1. ``Add(MatMul(DequantizeLinear(x), DequantizeLinear(w)), b)``: x of uint8 with one scale; w a constant of int8
   [inputs, outputs] with one scale, or one for each output; b a constant [outputs]; nothing else reads the product.
2. Anything else stays. Signed activations do, whose products ONNX Runtime computes in float on x86.
"""

from __future__ import annotations

from ._onnx_file import OnnxFile, OnnxNode, integer

_UINT8, _INT8 = 2, 3
"""TensorProto.DataType."""
_OUTPUT_AXIS = 1  # the default of DequantizeLinear's axis, too


def join_bias(graph: OnnxFile) -> int:
    """Rewrite a graph whose floats are FP32 in place; returns the number of linear layers that are one operator now."""
    found = [(node, inputs) for node in graph.nodes if (inputs := _operands(graph, node)) is not None]
    for node, inputs in found:
        graph.turn_into(node, "MatMulIntegerToFloat", inputs)
    graph.refresh()
    return len(found)


def _operands(graph: OnnxFile, node: OnnxNode) -> list[str] | None:
    """The operator's inputs in place of an Add; None where it must stay."""
    if node.op_type != "Add":
        return None
    for product, bias in (node.input, reversed(node.input)):
        linear = graph.source(product, "MatMul")
        if linear is None or len(graph.readers(product)) != 1:
            continue
        read, weights = (graph.source(name, "DequantizeLinear") for name in linear.input)
        if read is not None and weights is not None and _fits(graph, read, weights, bias):
            scales = [each.input[1] for each in (read, weights)]
            zeros = [each.input[2] for each in (read, weights)]
            return [read.input[0], weights.input[0], *scales, *zeros, bias]
    return None


def _fits(graph: OnnxFile, read: OnnxNode, weights: OnnxNode, bias: str) -> bool:
    """Rule 1."""
    if len(read.input) != 3 or len(weights.input) != 3:
        return False
    shape = graph.shape(weights.input[0])
    if shape is None or len(shape) != 2 or graph.shape(bias) != shape[1:]:
        return False
    kinds = [graph.data_type(each.input[2]) for each in (read, weights)]
    one = all(graph.shape(name) == () for name in read.input[1:])
    scales = {graph.shape(name) for name in weights.input[1:]}
    by_output = scales == {shape[1:]} and integer(weights, "axis") in (None, _OUTPUT_AXIS)
    return kinds == [_UINT8, _INT8] and one and (scales == {()} or by_output) and not integer(weights, "block_size")
