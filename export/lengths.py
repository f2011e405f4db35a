"""Arithmetic on lengths, as integers and as torch tensors: which positions belong to a clip."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..runtime.bundle.spec import Convolution
from .operators import divide


def feature_steps(config: Any) -> tuple[Convolution, ...]:
    """The feature extractor's convolutions."""
    return tuple(Convolution(kernel, stride, 0) for kernel, stride in zip(config.conv_kernel, config.conv_stride))


def adapter_steps(config: Any) -> tuple[Convolution, ...]:
    """The adapter's convolutions; none where the model has no adapter."""
    if not getattr(config, "add_adapter", False):
        return ()
    # transformers fixes the padding to 1.
    return (Convolution(config.adapter_kernel_size, config.adapter_stride, 1),) * int(config.num_adapter_layers)


def valid_positions(size: int, lengths: Tensor) -> Tensor:
    """Whether a position lies inside its clip: bool [batch, size] for lengths [batch]."""
    return torch.arange(size, dtype=torch.int64).unsqueeze(0) < lengths.unsqueeze(1)


def output_lengths(lengths: Tensor, step: Convolution) -> Tensor:
    """Lengths behind a convolution, never negative; shifted by one stride, so that truncation equals floor."""
    shifted = lengths + (2 * step.padding - step.kernel + step.stride)
    return divide(torch.clamp(shifted, min=0), step.stride)


def zero_outside(values: Tensor, valid: Tensor) -> Tensor:
    """``values`` where ``valid``, else 0; padding may hold anything, NaN included."""
    return torch.where(valid, values, 0.0)
