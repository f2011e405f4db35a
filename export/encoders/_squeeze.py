"""What SEW and SEW-D share: half as many frames inside the transformer (Wu et al., 2022).

Features are averaged in groups of ``squeeze_factor``, a strided positional convolution is added, the transformer runs,
and a linear layer writes each of its frames as several again. Frames of an incomplete last group are zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...runtime.bundle.spec import Convolution
from ..attention import folded_weight_norm
from ..lengths import output_lengths, valid_positions, zero_outside
from ..network import Network

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Squeeze(nn.Module):
    """Fewer frames before the layers, and as many as there were after them."""

    def __init__(self, encoder: Network, config: PreTrainedConfig) -> None:
        """Take over the pieces around transformers' layers."""
        super().__init__()
        self.pos_conv_embed = folded_weight_norm(encoder.pos_conv_embed)
        self.pool, self.upsample = encoder.pool, encoder.upsample
        self.factor = int(config.squeeze_factor)

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [batch, frames, hidden] to squeezed ones, and their lengths."""
        valid = valid_positions(hidden.shape[1], lengths)
        hidden = zero_outside(hidden, valid.unsqueeze(2)).transpose(1, 2)
        pooled = self.pool(hidden)
        # The convolution gives as many frames, or one more where the last group is not full.
        positions = self.pos_conv_embed(hidden)[..., : pooled.shape[2]]
        squeezed = output_lengths(lengths, Convolution(self.factor, self.factor, 0))
        return (pooled + positions).transpose(1, 2), squeezed

    def widen(self, hidden: Tensor, squeezed: Tensor, frames: Tensor) -> Tensor:
        """The transformer's result [batch, squeezed, hidden] as ``frames`` frames, zero where no group was full."""
        wide = self.upsample(hidden)
        wide = zero_outside(wide, valid_positions(wide.shape[1], squeezed * self.factor).unsqueeze(2))
        missing = torch.zeros_like(wide[:, : self.factor - 1])
        return torch.cat((wide, missing), dim=1)[:, : frames.shape[1]]
