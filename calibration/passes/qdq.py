"""Write INT8 into a graph: QuantizeLinear and DequantizeLinear around the operators that are to compute in it.

1. An activation is quantised once: where the operator reads it, or above shape-only operators where the scheme says
   so (OpenVINO and TensorRT then move INT8 numbers; ONNX Runtime would not fuse the operator). Residual additions and
   norms keep the float tensor.
2. A weight is stored once, as int8 with a scale for each output channel and a DequantizeLinear (no QuantizeLinear).
3. uint8 activations have a zero point and a range that holds zero; int8 activations are symmetric. Keys and values are
   int8 beside uint8 queries and probabilities: ONNX Runtime then takes half the time for them.
4. Where the scheme asks for it the operator's output is quantised too, so that ONNX Runtime fuses the whole operator.
5. Biases stay float, or become int32 in the scale input × weight where the scheme asks for it. A channel whose weights
   are so small that its bias would not fit into int32 gets a larger weight scale, in which the bias fits.
6. ONNX Runtime turns quantised convolutions channels-last and pushes the transposes down. A group norm, whose sums run
   over time, then reads with a stride and takes ten times as long. A Reshape to the same shape stops the transposes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...graphs.graph import Graph
from ...graphs.nodes import Node, Tensor, make_node
from ..schemes import Scheme
from ..sites import Site

_OVER_TIME = frozenset({"ReduceSum", "ReduceMean", "Where", "Sub", "Mul"})
Range: TypeAlias = tuple[float, float]
"""The lowest and the highest value that INT8 covers."""
LARGEST_BIAS = 2**30
"""The largest int32 that a bias becomes: half of int32's range leaves room for the sum of the products."""


def insert_qdq(
    graph: Graph, sites: Iterable[Site], ranges: Mapping[str, Range], scheme: Scheme, switched: bool = False
) -> tuple[str, ...]:
    """Quantise these sites in place, but for those that the scheme leaves in float.

    ranges: (low, high) of every tensor that ``observed`` names.

    switched: keep the float tensors beside the quantised ones and choose by one boolean input for each layer, named
    ``quantize:<layer>``: one graph then serves every choice of layers (it is slow, and exact to rounding).
    Returns the layers.
    """
    quantized = [site for site in sites if scheme.quantizes(site.kind)]
    writer = _Writer(graph, ranges, scheme, switched, quantized)
    for site in quantized:
        writer.site(site)
    writer.finish()
    return tuple(writer.switches)


def observed(sites: Iterable[Site]) -> tuple[str, ...]:
    """The tensors whose ranges the schemes need: what each site reads, and what convolutions write."""
    return tuple(
        dict.fromkeys(
            name for site in sites for name in (*site.anchors, *((site.output,) if site.kind == "convolution" else ()))
        )
    )


def activation_parameters(span: Range, unsigned: bool) -> tuple[np.float32, int]:
    """Scale and zero point for a range: uint8 with zero in it, or symmetric int8."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    if not unsigned:
        return np.float32(max(-low, high, 1e-8) / 127.0), 0
    scale = np.float32(max(high - low, 1e-8) / 255.0)
    return scale, int(np.clip(round(-low / float(scale)), 0, 255))


def quantize_weight(
    values: NDArray[np.float32], axis: int, limit: int, least: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight as int8 and its scale for each channel of ``axis``, symmetric.

    least: the smallest scale of each channel, [channels]; None: as small as the weights allow.
    """
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = np.maximum(np.abs(values).max(axis=others), 1e-10).astype(np.float32) / np.float32(limit)
    if least is not None:
        scale = np.maximum(scale, least)
    shape = [1] * values.ndim
    shape[axis] = -1
    return np.clip(np.rint(values / scale.reshape(shape)), -limit, limit).astype(np.int8), scale


class _Writer:
    def __init__(
        self, graph: Graph, ranges: Mapping[str, Range], scheme: Scheme, switched: bool, sites: Sequence[Site]
    ) -> None:
        self.graph = graph
        self.ranges = ranges
        self.scheme = scheme
        self.switched = switched
        self.switches: dict[str, str] = {}
        self.pairs: dict[tuple[str, str], str] = {}
        self.added: list[Node] = []
        self.least = self._least_scales(sites)

    def site(self, site: Site) -> None:
        node = self.graph.node(site.node)
        for position, (tensor, anchor) in enumerate(zip(site.activations, site.anchors)):
            if not self.scheme.anchored or tensor == anchor:
                node.input[position] = self._pair(tensor, anchor, site, position)
            elif (anchor, self._key(site)) not in self.pairs:
                self.graph.replace_uses(anchor, self._pair(anchor, anchor, site), self.graph.readers(anchor))
        if site.weight is not None:
            node.input[1] = self._weight(site, axis=0 if node.op_type == "Conv" else 1)
            if site.bias is not None and self.scheme.integer_bias and not self.switched:
                node.input[2] = self._bias(site)
        if self.scheme.quantize_outputs and site.kind == "convolution" and site.output not in self.graph.outputs:
            # Shape reads it too: ONNX Runtime fuses an operator only where nothing but the quantiser reads its result.
            readers = self.graph.consumers.get(site.output, [])
            result = self._pair(site.output, site.output, site)
            if not self.switched and {reader.op_type for reader in readers} & _OVER_TIME:
                result = self._barrier(result)
            self.graph.replace_uses(site.output, result, readers)

    def finish(self) -> None:
        self.graph.nodes.extend(self.added)
        self.graph.refresh()
        self.graph.sort()
        self.graph.drop_unused()

    def _least_scales(self, sites: Sequence[Site]) -> dict[str, NDArray[np.float32]]:
        """By weight, the least scale of each channel [channels] in which every bias beside it fits, see rule 5."""
        least: dict[str, NDArray[np.float32]] = {}
        for site in sites:
            if site.weight is None or site.bias is None or not self.scheme.integer_bias:
                continue
            unsigned = self.scheme.reads_unsigned(site.kind, 0)
            scale, _ = activation_parameters(self.ranges[site.anchors[0]], unsigned)
            bias = np.abs(self.graph.floats(site.bias).astype(np.float64))
            wanted = (bias / (float(scale) * LARGEST_BIAS)).astype(np.float32)
            least[site.weight] = np.maximum(wanted, least.get(site.weight, np.float32(0)))
        return least

    def _key(self, site: Site) -> str:
        return site.layer if self.switched else ""

    def _pair(self, tensor: str, measured: str, site: Site, position: int = 0) -> str:
        """The dequantised copy of an activation, made at its first use; position: among the operands of the site."""
        unsigned = self.scheme.reads_unsigned(site.kind, position)
        name = tensor if unsigned == self.scheme.unsigned else f"{tensor}_signed"
        key = (name, self._key(site))
        if key in self.pairs:
            return self.pairs[key]
        scale, zero = activation_parameters(self.ranges[measured], unsigned)
        kind = np.uint8 if unsigned else np.int8
        names = self._store(name, np.array(scale, dtype=np.float32), np.array(zero, dtype=kind))
        stem = f"{name}{'@' if self.switched else ''}{self._key(site)}"
        self._add("QuantizeLinear", [tensor, *names], f"{stem}_quantized")
        self._add("DequantizeLinear", [f"{stem}_quantized", *names], f"{stem}_dequantized")
        self.pairs[key] = self._switch(f"{stem}_dequantized", tensor, site)
        return self.pairs[key]

    def _weight(self, site: Site, axis: int) -> str:
        name = str(site.weight)
        key = (name, self._key(site))
        if key not in self.pairs:
            weight = self.graph.floats(name)
            values, scale = quantize_weight(weight, axis, self.scheme.weight_limit, self.least.get(name))
            stem = f"{name}{'@' if self.switched else ''}{self._key(site)}"
            self.graph.weights[f"{stem}_quantized"] = values
            names = self._store(stem, scale, np.zeros(len(scale), np.int8))
            self._add("DequantizeLinear", [f"{stem}_quantized", *names], f"{stem}_dequantized", axis=axis)
            self.pairs[key] = self._switch(f"{stem}_dequantized", name, site)
        return self.pairs[key]

    def _bias(self, site: Site) -> str:
        measured = site.anchors[0] if self.scheme.anchored else site.activations[0]
        scale = self.graph.floats(f"{measured}_scale") * self.graph.floats(f"{site.weight}_scale")
        # In float64: float32 has no number between 2^31 - 128 and 2^31, which int32 does not hold.
        steps = np.rint(self.graph.floats(str(site.bias)).astype(np.float64) / scale.astype(np.float64))
        limit = np.iinfo(np.int32).max
        values = np.clip(steps, -limit, limit).astype(np.int32)
        stem = str(site.bias) if f"{site.bias}_quantized" not in self.graph.weights else f"{site.bias}@{site.path}"
        self.graph.weights[f"{stem}_quantized"] = values
        names = self._store(stem, scale, np.zeros(len(scale), np.int32))
        self._add("DequantizeLinear", [f"{stem}_quantized", *names], f"{stem}_dequantized", axis=0)
        return f"{stem}_dequantized"

    def _barrier(self, tensor: str) -> str:
        """A Reshape to the same shape, see rule 6."""
        self.graph.weights["same_shape"] = np.array([0, 0, -1], dtype=np.int64)
        self._add("Reshape", [tensor, "same_shape"], f"{tensor}_channels_first")
        return f"{tensor}_channels_first"

    def _store(self, stem: str, scale: Tensor, zero: Tensor) -> list[str]:
        # All weights of a width share one row of zeros.
        names = [f"{stem}_scale", f"{stem}_zero_point" if zero.ndim == 0 else f"zeros_{zero.dtype}_{len(zero)}"]
        self.graph.weights[names[0]], self.graph.weights[names[1]] = scale, zero
        return names

    def _switch(self, quantized: str, original: str, site: Site) -> str:
        from onnx import TensorProto, helper

        if not self.switched:
            return quantized
        if site.layer not in self.switches:
            self.switches[site.layer] = f"quantize:{site.layer}"
            self.graph.model.graph.input.append(
                helper.make_tensor_value_info(self.switches[site.layer], TensorProto.BOOL, [])
            )
        self._add("Where", [self.switches[site.layer], quantized, original], f"{quantized}_or_float")
        return f"{quantized}_or_float"

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.added.append(make_node(operator, inputs, [output], output, None, **attributes))
