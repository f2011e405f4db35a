"""The first convolution and its norm as one matrix product over windows of the waveform.

Both norms of this family are linear in the convolution's output once their statistics are known, and the statistics
follow from the few samples of each window, without the output of 512 channels:

1. Layer norm (over channels, for each frame): with weights and bias centred over channels the mean is zero; the
   variance is |x L|², where x is the window with a one appended and L a root of the centred weights' Gram matrix.
   So norm(x W) = [x / σ(x), 1] [W_centred · γ; β]: the window is divided, the weights stay constant.
2. Group norm with one group for each channel (over time, for each clip): mean and mean square of channel c are
   w_c · m and w_c · R w_c, with m the mean window and R the windows' mean outer product, over the clip's frames
   without padding. Both are taken in the cosine basis, where speech is nearly uncorrelated and little cancels.
   So norm(x W) = [x, 1] [W · scale; shift]: the weights are scaled for each clip. Mean and mean square are named as
   the graph contract requires, so that the stages ``statistics`` and ``tile`` can be cut there.
3. Without a norm: [x, 1] [W; bias].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import NORM_MEAN, NORM_MEAN_SQUARE

from ...graphs.graph import Graph
from ...graphs.nodes import Node, Tensor, attribute, integers
from .windows import ELEMENTWISE, SWAP_LAST_AXES, Builder, Step, frame_count, joined, windows

Matrix = NDArray[np.float64]
_ALIGNED = 16
"""Numbers of a row are a multiple of this, so that each row of a batch is summed in the same order."""
_DEFAULT_EPSILON = 1e-5
"""What ONNX's LayerNormalization adds to the variance where the attribute is left out."""


def rewrite_first(graph: Graph, step: Step, exact: bool = False) -> tuple[str, bool] | None:
    """Put the product in place of convolution and norm; None where the graph has another layout.

    Returns the tensor that it writes, [batch, frames rounded up, channels], and whether the original graph has it in
    that layout too (else as [batch, channels, frames]). exact: as many frames as the convolution has, not rounded up.
    """
    conv = graph.node(step.node.name)
    builder = Builder(graph, conv.name.rsplit("/", 1)[0])
    weight = graph.weights[conv.input[1]][:, 0, :].T.astype(np.float64)
    bias = graph.weights[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else np.zeros(weight.shape[1])
    if exact:
        count = frame_count(builder, (step,), 1)
        reached = builder.add("Add", [count, builder.integers(_reached(step))], "frames_reached")
        rows = _window_rows(builder, step, reached)
        rows = builder.add("Slice", [rows, builder.integers(0), count, builder.integers(1)], "windows_kept")
    else:
        count = _rounded_up(builder, step)
        rows = _window_rows(builder, step, count)
    readers = graph.readers(conv.output[0])
    if len(readers) == 1 and readers[0].op_type == "Transpose":
        return _layer_norm(graph, builder, conv, rows, np.vstack([weight, bias]))
    if _time_statistics(graph, conv) is not None:
        return _group_norm(graph, builder, conv, rows, weight, count)
    if all(reader.op_type in ELEMENTWISE for reader in readers):
        constant = builder.constant("weight_and_bias", np.vstack([weight, bias]).astype(np.float32))
        builder.add("MatMul", [_with_one(builder, rows), constant], "product", conv.output[0])
        graph.substitute(conv, builder.nodes)
        return conv.output[0], False
    return None


def _layer_norm(graph: Graph, builder: Builder, conv: Node, rows: str, weight: Matrix) -> tuple[str, bool] | None:
    """Rule 1. weight: [kernel + 1, channels], the bias last."""
    transpose = graph.readers(conv.output[0])[0]
    norms = graph.readers(transpose.output[0])
    if integers(transpose, "perm") != SWAP_LAST_AXES or len(norms) != 1 or norms[0].op_type != "LayerNormalization":
        return None
    norm = norms[0]
    stated = attribute(norm, "epsilon")
    epsilon = _DEFAULT_EPSILON if stated is None else stated.f
    centred = weight - weight.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(centred @ centred.T / weight.shape[1])
    root = vectors * np.sqrt(np.maximum(values, 0))
    root = builder.constant("root", np.pad(root, ((0, 0), (0, -len(root) % _ALIGNED))).astype(np.float32))
    window = _with_one(builder, rows)
    parts = builder.add("MatMul", [window, root], "deviations")
    power = builder.add("Mul", [parts, parts], "deviations_squared")
    variance = builder.add("ReduceSum", [power, builder.integers(2)], "variance", keepdims=1)
    variance = builder.add("Add", [variance, builder.constant("epsilon", np.float32(epsilon))], "variance_above_zero")
    window = builder.add("Div", [window, builder.add("Sqrt", [variance], "deviation")], "divided")
    gain = graph.weights[norm.input[1]].astype(np.float64)
    both = np.vstack([centred * gain, graph.weights[norm.input[2]].astype(np.float64)])
    scaled = builder.constant("weight_and_shift", both.astype(np.float32))
    builder.add("MatMul", [_with_one(builder, window, "divided"), scaled], "product", norm.output[0])
    graph.substitute(norm, builder.nodes, gone=[conv, transpose])
    return norm.output[0], True


def _group_norm(
    graph: Graph, builder: Builder, conv: Node, rows: str, weight: Matrix, count: str
) -> tuple[str, bool] | None:
    """Rule 2. weight: [kernel, channels]; a bias cancels with the mean."""
    found = _time_statistics(graph, conv)
    assert found is not None
    kernel = weight.shape[0]
    basis = _cosines(kernel)
    inner = builder.constant("weight_in_basis", (basis.T @ weight).astype(np.float32))
    rows = builder.add("MatMul", [rows, builder.constant("basis", basis.astype(np.float32))], "windows_in_basis")
    weighted = builder.add("Mul", [rows, found.share], "windows_weighted")
    window = _with_one(builder, rows)
    # Sums are taken by products: with them a clip gives the same numbers alone and in a batch.
    transposed = builder.add("Transpose", [window], "windows_turned", perm=SWAP_LAST_AXES)
    sums = builder.add("MatMul", [builder.add("MatMul", [transposed, weighted], "outer_products"), inner], "sums")
    first, last, end, axis = map(builder.integers, (0, kernel, kernel + 1, 1))
    mean = builder.add("Slice", [sums, last, end, axis], "mean", NORM_MEAN)
    square = builder.add("Slice", [sums, first, last, axis], "outer_of_weights")
    square = builder.add("Mul", [square, inner], "squares")
    ones = builder.constant("ones", np.ones((1, 1, kernel), np.float32))
    square = builder.add("MatMul", [ones, square], "mean_square", NORM_MEAN_SQUARE)
    variance = builder.add("Sub", [square, builder.add("Mul", [mean, mean], "mean_squared")], "difference")
    variance = builder.add("Max", [variance, builder.constant("zero", np.float32(0))], "variance")
    variance = builder.add("Add", [variance, builder.constant("epsilon", np.float32(found.epsilon))], "above_zero")
    gain, offset = (values.reshape(1, 1, -1).astype(np.float32) for values in (found.gain, found.offset))
    deviation = builder.add("Sqrt", [variance], "deviation")
    scale = builder.add("Div", [builder.constant("gain", gain), deviation], "scale")
    shift = builder.add("Mul", [mean, scale], "mean_scaled")
    shift = builder.add("Sub", [builder.constant("offset", offset), shift], "shift")
    scaled = builder.add("Mul", [inner, scale], "weight_scaled")
    both = builder.add("Concat", [scaled, shift], "weight_and_shift", axis=1)
    builder.add("MatMul", [window, both], "product", found.end.output[0])
    frames = builder.add("Squeeze", [count, builder.integers(0)], "frames", found.frames.output[0])
    assert frames == found.frames.output[0]
    graph.substitute(found.end, builder.nodes, gone=[conv, found.frames, found.mean, found.square])
    return str(found.end.output[0]), False


@dataclass(frozen=True)
class _Statistics:
    """A group norm over time as the exporter writes it."""

    share: str
    """The tensor with each frame's share of the mean [batch, frames, 1]."""
    mean: Node
    """The node that takes the mean."""
    square: Node
    """The node that takes the mean square."""
    frames: Node
    """The node that takes the number of frames from the convolution's output."""
    end: Node
    """The node that writes the result."""
    gain: Tensor
    offset: Tensor
    epsilon: float


def _time_statistics(graph: Graph, conv: Node) -> _Statistics | None:
    """The parts of the group norm that reads ``conv``; None where there is no such norm."""
    source = conv.output[0]
    means = [n for n in graph.readers(source) if n.op_type == "MatMul" and n.input[0] == source]
    scaled = [n for n in graph.readers(source) if n.op_type == "Mul" and set(n.input) != {source}]
    shapes = [n for n in graph.consumers[source] if n.op_type == "Shape"]
    squared = {n.output[0] for n in graph.readers(source) if n.op_type == "Mul" and set(n.input) == {source}}
    squares = [reader for name in squared for reader in graph.readers(name)]
    if not len(means) == len(scaled) == len(shapes) == len(squares) == 1:
        return None
    ends, frames = graph.readers(scaled[0].output[0]), graph.readers(shapes[0].output[0])
    if len(ends) != 1 or ends[0].op_type != "Add" or len(frames) != 1 or frames[0].op_type != "Gather":
        return None
    shift = graph.producer.get(next(name for name in ends[0].input if name != scaled[0].output[0]))
    scale = graph.producer.get(next(name for name in scaled[0].input if name != source))
    if shift is None or scale is None or shift.op_type != "Sub" or scale.op_type != "Div":
        return None
    root = graph.producer.get(scale.input[1])
    above = graph.producer.get(root.input[0]) if root is not None and root.op_type == "Sqrt" else None
    epsilons = [n for n in above.input if n in graph.weights] if above is not None else []
    if len(epsilons) != 1 or shift.input[0] not in graph.weights or scale.input[0] not in graph.weights:
        return None
    gain, offset = graph.weights[scale.input[0]], graph.weights[shift.input[0]]
    epsilon = float(graph.weights[epsilons[0]].reshape(-1)[0])
    return _Statistics(means[0].input[1], means[0], squares[0], frames[0], ends[0], gain, offset, epsilon)


def _cosines(size: int) -> Matrix:
    """The orthonormal basis of the discrete cosine transform, one vector in each column."""
    angle = np.pi * (np.arange(size)[:, None] + 0.5) * np.arange(size) / size
    basis: Matrix = np.cos(angle) * np.sqrt(2 / size)
    basis[:, 0] = 1 / np.sqrt(size)
    return basis


def _with_one(builder: Builder, rows: str, name: str = "windows") -> str:
    """Rows with a one after their numbers [batch, frames, one more]."""
    pads = [rows, builder.integers(0, 0, 0, 0, 0, 1), builder.constant("one", np.float32(1))]
    return builder.add("Pad", pads, f"{name}_and_one")


def _reached(step: Step) -> int:
    """How many rows of ``stride`` samples a window reaches into after its own."""
    return -(-step.kernel // step.stride) - 1


def _rounded_up(builder: Builder, step: Step) -> str:
    """Rows of ``stride`` samples to read, int64 [1], a multiple of the later strides' product.

    For each frame of the input one, and those that the last frame's window reaches into.
    """
    real = frame_count(builder, (step,), 1)
    later = builder.integers(step.later)
    blocks = builder.add("Add", [real, builder.integers(_reached(step) - 1)], "rows_less_one")
    blocks = builder.add("Div", [blocks, later], "blocks")
    blocks = builder.add("Add", [blocks, builder.integers(1)], "blocks_above")
    return builder.add("Mul", [blocks, later], "rounded_up")


def _window_rows(builder: Builder, step: Step, count: str) -> str:
    """The waveform's windows [batch, rounded up frames, kernel]."""
    total = builder.add("Mul", [count, builder.integers(step.stride)], "padded_samples")
    have = builder.add("Shape", [step.waveform], "have_shape")
    have = builder.add("Slice", [have, builder.integers(1), builder.integers(2)], "have")
    missing = builder.add("Sub", [total, have], "missing")
    missing = builder.add("Max", [missing, builder.integers(0)], "missing_or_none")
    pads = builder.add("Concat", [builder.integers(0, 0, 0), missing], "pads", axis=0)
    padded = builder.add("Pad", [step.waveform, pads], "padded")
    cut = builder.add("Slice", [padded, builder.integers(0), total, builder.integers(1)], "cut")
    column = builder.add("Unsqueeze", [cut, builder.integers(2)], "column")
    return joined(builder, windows(builder, column, 1, step.kernel, step.stride))
