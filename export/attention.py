"""What the attentions of several encoders share: heads, masks, and scores by relative positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MASKED = -30000.0
"""Added to the scores of masked keys: their softmax underflows to exactly 0, and float16 still holds it."""


def mask_bias(valid: Tensor) -> Tensor:
    """A bias for scores [batch, heads, queries, keys], so that only ``valid`` keys [batch, keys] count."""
    return torch.where(valid, 0.0, MASKED).unsqueeze(1).unsqueeze(1)


def split_heads(values: Tensor, heads: int) -> Tensor:
    """[batch, frames, heads × size] to [batch, heads, frames, size]."""
    return values.view(values.shape[0], values.shape[1], heads, values.shape[2] // heads).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor) -> Tensor:
    """Scaled dot-product attention [batch, heads, frames, size] with a bias on the scores; heads joined again."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scale + bias
    mixed = torch.matmul(torch.softmax(scores, dim=-1), value).transpose(1, 2)
    return mixed.reshape(mixed.shape[0], mixed.shape[1], mixed.shape[2] * mixed.shape[3])


def relative_positions(frames: int) -> Tensor:
    """Key position less query position, from -(frames - 1) to frames - 1: int64 [2 × frames - 1]."""
    return torch.arange(2 * frames - 1, dtype=torch.int64) - (frames - 1)


def by_key(scores: Tensor) -> Tensor:
    """From scores by relative position [batch, heads, frames, 2 × frames - 1] to scores by key [… frames, frames].

    Each row is shifted by one more than the row above (Dai et al., 2019, appendix B): a column in front makes rows one
    longer, so that reading them in rows one shorter shifts.
    """
    batch, heads, frames = scores.shape[0], scores.shape[1], scores.shape[2]
    padded = functional.pad(scores, (1, 0)).reshape(batch, heads, 2 * frames, frames)
    return padded[:, :, 1:].reshape(batch, heads, frames, 2 * frames - 1)[..., :frames]


def folded_weight_norm(module: nn.Module) -> nn.Module:
    """The same module with weight normalisation multiplied into its weights."""
    for inner in module.modules():
        if nn.utils.parametrize.is_parametrized(inner, "weight"):
            nn.utils.parametrize.remove_parametrizations(inner, "weight")
    return module
