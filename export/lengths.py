"""Arithmetic on lengths as torch tensors: which positions belong to a clip, and which are padding.

``graph`` lists the rules by which padding is masked; ``attention`` masks scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..runtime.bundle.spec import Convolution
from .operators import divide


def valid_positions(size: int, lengths: Tensor) -> Tensor:
    """Whether a position is inside its clip: bool [batch, size] for lengths [batch]."""
    return torch.arange(size, dtype=torch.int64).unsqueeze(0) < lengths.unsqueeze(1)


def output_lengths(lengths: Tensor, step: Convolution) -> Tensor:
    """Lengths after a convolution, never negative; shifted by one stride, so that truncation equals floor."""
    shifted = lengths + (2 * step.padding - step.kernel + step.stride)
    return divide(torch.clamp(shifted, min=0), step.stride)


def zero_outside(values: Tensor, valid: Tensor) -> Tensor:
    """``values`` where ``valid``, else 0; padding may have any value, NaN included."""
    return torch.where(valid, values, 0.0)
