"""Arithmetic on lengths, as integers and as torch tensors: which positions belong to a clip, and which are padding.

``graph`` lists the rules by which padding is masked; ``attention`` masks scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..runtime.bundle.spec import Convolution
from .operators import divide

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

LOG_MEL_STEPS = (Convolution(400, 160, 0), Convolution(2, 2, 0))
"""Frames of 25 ms every 10 ms at 16 kHz, two of which make one feature (transformers' SeamlessM4TFeatureExtractor)."""


def feature_steps(config: PreTrainedConfig) -> tuple[Convolution, ...]:
    """The feature extractor's convolutions; Wav2Vec2-BERT has log-mel features instead."""
    if not hasattr(config, "conv_kernel"):
        return LOG_MEL_STEPS
    return tuple(Convolution(kernel, stride, 0) for kernel, stride in zip(config.conv_kernel, config.conv_stride))


def adapter_steps(config: PreTrainedConfig) -> tuple[Convolution, ...]:
    """The adapter's convolutions; none where the model has no adapter."""
    if not getattr(config, "add_adapter", False):
        return ()
    # transformers fixes the padding to 1, but for Wav2Vec2-BERT.
    padding = config.adapter_stride // 2 if config.model_type == "wav2vec2-bert" else 1
    return (Convolution(config.adapter_kernel_size, config.adapter_stride, padding),) * int(config.num_adapter_layers)


def squeeze_steps(config: PreTrainedConfig) -> tuple[Convolution, ...]:
    """SEW's encoder gives back as many frames as it takes, and needs as many as one group has.

    Two steps that together change nothing but the shortest legal clip.
    """
    factor = int(getattr(config, "squeeze_factor", 1))
    if factor == 1:
        return ()
    even = factor % 2 == 0
    return (Convolution(factor, 1, 0), Convolution(2 if even else 1, 1, factor // 2))


def valid_positions(size: int, lengths: Tensor) -> Tensor:
    """Whether a position is inside its clip: bool [batch, size] for lengths [batch]."""
    return torch.arange(size, dtype=torch.int64).unsqueeze(0) < lengths.unsqueeze(1)


def output_lengths(lengths: Tensor, step: Convolution) -> Tensor:
    """Lengths after a convolution, never negative; shifted by one stride, so that truncation equals floor."""
    shifted = lengths + (2 * step.padding - step.kernel + step.stride)
    return divide(torch.clamp(shifted, min=0), step.stride)


def zero_outside(values: Tensor, valid: Tensor) -> Tensor:
    """``values`` where ``valid``, else 0; padding may hold anything, NaN included."""
    return torch.where(valid, values, 0.0)
