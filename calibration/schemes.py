"""The number schemes: how integers are laid out in a graph, and who runs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """One static INT8 layout.

    unsigned: activations are uint8 with a zero point (else int8, symmetric). weight_limit: weights lie in
    [-weight_limit, weight_limit]. quantize_outputs: convolutions also write INT8, which ONNX Runtime's kernels need
    to fuse; matrix products return float (MatMulIntegerToFloat), which was measured faster than QLinearMatMul (0.50
    against 0.63 of fp32's time at base shape) and is more exact. integer_bias: convolution biases as int32, as ONNX
    Runtime wants them. anchored: quantisers sit above shape-only operators. preferred_by: the engines that run it
    best.
    """

    name: str
    unsigned: bool
    weight_limit: int
    quantize_outputs: bool
    integer_bias: bool
    anchored: bool
    preferred_by: tuple[str, ...]

    @property
    def variant(self) -> str:
        """The variant's name in a bundle."""
        return f"int8-{self.name}"


_FUSED = {"quantize_outputs": True, "integer_bias": True, "anchored": False}

U8S8 = Scheme("u8s8", unsigned=True, weight_limit=127, preferred_by=("onnxruntime",), **_FUSED)
S8S8 = Scheme(
    "s8s8",
    unsigned=False,
    weight_limit=127,
    preferred_by=("openvino", "tensorrt", "tensorrt-rtx"),
    quantize_outputs=False,
    integer_bias=False,
    anchored=True,
)
# 2 · 255 · 64 < 2^15: VPMADDUBSW, all that x86 without VNNI has, cannot saturate with 7-bit weights.
U7S8 = Scheme("u7s8", unsigned=True, weight_limit=64, preferred_by=(), **_FUSED)

STATIC = {scheme.variant: scheme for scheme in (U8S8, S8S8, U7S8)}
"""The calibrated variants by name."""
