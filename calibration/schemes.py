"""The number schemes: how integers are stored in a graph, and which engines run them best."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeAlias

SchemeName: TypeAlias = Literal["u8s8", "s8s8", "s8s8-bf16", "u7s8"]
"""Activations and weights of a static INT8 layout: ``u8`` unsigned, ``s8`` signed, ``u7s8`` with weights in 7 bits and
attention in float; ``s8s8-bf16`` with the rest in bfloat16."""


@dataclass(frozen=True)
class Scheme:
    """One static INT8 layout."""

    name: SchemeName
    unsigned: bool
    """Activations are uint8 with a zero point (but see ``attention``); else int8, symmetric."""
    weight_limit: int
    """Weights are in [-weight_limit, weight_limit]."""
    quantize_outputs: bool
    """Convolutions also write INT8, which ONNX Runtime's kernels need to fuse. Matrix products return float
    (MatMulIntegerToFloat), which was measured faster than QLinearMatMul (0.50 against 0.63 of fp32's time at base
    shape) and is more exact."""
    integer_bias: bool
    """Convolution biases are int32, as ONNX Runtime needs them."""
    attention: bool
    """Products of two activations (attention's) are INT8 too. Their second operand (keys and values) is int8,
    symmetric: x86 VNNI multiplies unsigned by signed numbers."""
    anchored: bool
    """Quantisers are put above shape-only operators, where OpenVINO and TensorRT then move INT8 numbers."""
    preferred_by: tuple[str, ...]
    """The engines that run it best."""

    def quantizes(self, kind: str) -> bool:
        """Whether operators of this kind (``sites.SiteKind``) are INT8."""
        return self.attention or kind != "attention"

    def reads_unsigned(self, kind: str, position: int) -> bool:
        """Whether an operator of this kind (``sites.SiteKind``) reads its operand at this position as uint8."""
        return self.unsigned and not (kind == "attention" and position == 1)

    @property
    def variant(self) -> str:
        """The variant's name in a bundle."""
        return f"int8-{self.name}"


U8S8 = Scheme(
    "u8s8",
    unsigned=True,
    weight_limit=127,
    quantize_outputs=True,
    integer_bias=True,
    attention=True,
    anchored=False,
    preferred_by=("onnxruntime",),
)
S8S8 = Scheme(
    "s8s8",
    unsigned=False,
    weight_limit=127,
    quantize_outputs=False,
    integer_bias=False,
    attention=True,
    anchored=True,
    preferred_by=("openvino", "tensorrt", "tensorrt-rtx"),
)
# The same graph; OpenVINO computes what is not quantised in bfloat16.
S8S8_BF16 = dataclasses.replace(S8S8, name="s8s8-bf16", preferred_by=("openvino",))
# 2 · 255 · 64 < 2^15: VPMADDUBSW, all that x86 without VNNI has, cannot saturate with 7-bit weights. With eight bits,
# as keys and values have, it could. So attention stays in float, which takes as long or less in wav2edge where no clip
# is padded (runtime/engines/_onnx_attention.py).
U7S8 = Scheme(
    "u7s8",
    unsigned=True,
    weight_limit=64,
    quantize_outputs=True,
    integer_bias=True,
    attention=False,
    anchored=False,
    preferred_by=(),
)

STATIC = {scheme.variant: scheme for scheme in (U8S8, S8S8, S8S8_BF16, U7S8)}
"""The calibrated variants by name."""
SIGNED = frozenset(name for name, scheme in STATIC.items() if not scheme.unsigned)
"""Those whose activations are signed."""
