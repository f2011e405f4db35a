"""WavLM: attention with a gated bias for relative positions (Chen et al., 2022, section III-B).

1. The bias of a distance is a row of the first layer's table; far distances share rows (buckets). Which row belongs to
   which distance is a constant here, so no engine computes its logarithm.
2. Each layer gates the bias by its own input; transformers sums four outputs of a small linear layer for each of two
   gates, which is one linear layer with the sums of the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..attention import attend, split_heads
from ..network import Network
from . import transformer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Encoder(transformer.Encoder):
    """The plain transformer with WavLM's attention."""

    bias_table: Tensor

    def __init__(self, core: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' encoder."""
        super().__init__(core, config)
        attention = self.layers[0].attention
        self.farthest = int(config.max_bucket_distance)
        distances = torch.arange(-self.farthest, self.farthest + 1)
        rows = attention._relative_positions_bucket(distances)
        self.register_buffer("bias_table", attention.rel_attn_embed.weight.detach()[rows].clone())
        self.layers = nn.ModuleList(Layer(layer, self.norm_last) for layer in self.layers)

    def run_layers(self, hidden: Tensor, bias: Tensor) -> list[Tensor]:
        """The states before, between and after the layers; ``bias`` is added to attention scores."""
        frames = torch.arange(hidden.shape[1], dtype=torch.int64)
        distances = torch.clamp(frames.unsqueeze(0) - frames.unsqueeze(1), -self.farthest, self.farthest)
        positions = functional.embedding(distances + self.farthest, self.bias_table).permute(2, 0, 1).unsqueeze(0)
        states = [hidden]
        for layer in self.layers:
            states.append(layer(states[-1], positions, bias))
        return states


class Layer(nn.Module):
    """One layer, with the norms before attention and feed-forward part or after them."""

    def __init__(self, layer: Network, norm_last: bool) -> None:
        """Take over transformers' layer. norm_last: whether the norms are before."""
        super().__init__()
        self.norm_last = norm_last
        self.attention = GatedAttention(layer.attention)
        self.layer_norm, self.final_layer_norm = layer.layer_norm, layer.final_layer_norm
        self.feed_forward = layer.feed_forward

    def forward(self, hidden: Tensor, positions: Tensor, bias: Tensor) -> Tensor:
        """Hidden states [batch, frames, hidden]; ``positions`` and ``bias`` as ``GatedAttention`` takes them."""
        if self.norm_last:
            hidden = hidden + self.attention(self.layer_norm(hidden), positions, bias)
            hidden = hidden + self.feed_forward(self.final_layer_norm(hidden))
            return hidden
        hidden = self.layer_norm(hidden + self.attention(hidden, positions, bias))
        result: Tensor = self.final_layer_norm(hidden + self.feed_forward(hidden))
        return result


class GatedAttention(nn.Module):
    """Attention whose bias for relative positions is scaled by a gate of each query."""

    def __init__(self, attention: Network) -> None:
        """Take over transformers' attention; the gates' linear layer is folded (rule 2)."""
        super().__init__()
        self.heads, self.scale = attention.num_heads, attention.scaling
        self.q_proj, self.k_proj, self.v_proj = attention.q_proj, attention.k_proj, attention.v_proj
        self.out_proj = attention.out_proj
        self.gru_rel_pos_const = attention.gru_rel_pos_const
        gates = attention.gru_rel_pos_linear
        self.gru_rel_pos_linear = nn.Linear(gates.in_features, 2)
        with torch.no_grad():
            self.gru_rel_pos_linear.weight.copy_(gates.weight.view(2, 4, -1).sum(1))
            self.gru_rel_pos_linear.bias.copy_(gates.bias.view(2, 4).sum(1))

    def forward(self, hidden: Tensor, positions: Tensor, bias: Tensor) -> Tensor:
        """Hidden states [batch, frames, hidden]; ``positions`` [1, heads, frames, frames] and the mask's ``bias``."""
        gates = torch.sigmoid(self.gru_rel_pos_linear(split_heads(hidden, self.heads)))
        gate = gates[..., :1] * (gates[..., 1:] * self.gru_rel_pos_const - 1.0) + 2.0
        query, key, value = (split_heads(p(hidden), self.heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        result: Tensor = self.out_proj(attend(query, key, value, self.scale, gate * positions + bias))
        return result
