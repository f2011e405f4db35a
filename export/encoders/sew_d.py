"""SEW-D: DeBERTa's disentangled attention (He et al., 2021) on half as many frames.

1. A score is the product of query and key, of the query with a vector of the distance (c2p), and of the key with
   another one (p2c), each divided by the square root of the number of these terms times the head's size.
2. Far distances share vectors (buckets, spaced by logarithms). Which vector belongs to which distance is a constant
   here, up to the distance from which all are the same; the vectors, projected for each layer, are weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..attention import by_key, mask_bias, relative_positions, split_heads
from ..lengths import valid_positions, zero_outside
from ..network import Network
from ._squeeze import Squeeze

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Encoder(nn.Module):
    """DeBERTa layers between squeezing and widening."""

    def __init__(self, core: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' encoder."""
        super().__init__()
        self.squeeze = Squeeze(core.encoder, config)
        inner = core.encoder.encoder
        vectors = inner.get_rel_embedding()
        self.layer, self.conv = nn.ModuleList(Layer(layer, vectors) for layer in inner.layer), inner.conv

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden state [batch, frames, hidden]; the states between have other frames and are left out."""
        values, squeezed = self.squeeze(hidden, lengths)
        valid = valid_positions(values.shape[1], squeezed)
        bias, distances = mask_bias(valid), relative_positions(values.shape[1])
        for index, layer in enumerate(self.layer):
            before, values = values, layer(values, distances, bias)
            if index == 0 and self.conv is not None:
                values = self._convolved(before, values, valid.unsqueeze(2))
        return self.squeeze.widen(values, squeezed, hidden), []

    def _convolved(self, hidden: Tensor, residual: Tensor, inside: Tensor) -> Tensor:
        """The convolution beside the first layer."""
        from transformers.activations import ACT2FN

        convolved = self.conv.conv(zero_outside(hidden, inside).transpose(1, 2)).transpose(1, 2)
        result: Tensor = self.conv.LayerNorm(residual + ACT2FN[self.conv.conv_act](convolved))
        return result


class Layer(nn.Module):
    """One layer: attention, then a feed-forward part."""

    def __init__(self, layer: Network, vectors: Tensor | None) -> None:
        """Take over transformers' layer; ``vectors`` as ``DisentangledAttention`` takes them."""
        super().__init__()
        self.attention = Attention(layer.attention, vectors)
        self.intermediate, self.output = layer.intermediate, layer.output

    def forward(self, hidden: Tensor, distances: Tensor, bias: Tensor) -> Tensor:
        """Hidden states [batch, frames, hidden]; the others as ``DisentangledAttention`` takes them."""
        mixed = self.attention(hidden, distances, bias)
        result: Tensor = self.output(self.intermediate(mixed), mixed)
        return result


class Attention(nn.Module):
    """Attention, its projection and the norm after it."""

    def __init__(self, attention: Network, vectors: Tensor | None) -> None:
        """Take over transformers' attention; ``vectors`` as ``DisentangledAttention`` takes them."""
        super().__init__()
        self.self, self.output = DisentangledAttention(attention.self, vectors), attention.output

    def forward(self, hidden: Tensor, distances: Tensor, bias: Tensor) -> Tensor:
        """Hidden states [batch, frames, hidden]; the others as ``DisentangledAttention`` takes them."""
        result: Tensor = self.output(self.self(hidden, distances, bias), hidden)
        return result


class DisentangledAttention(nn.Module):
    """Attention to content and to distance."""

    position_keys: Tensor
    position_queries: Tensor
    query_rows: Tensor
    key_rows: Tensor

    def __init__(self, attention: Network, vectors: Tensor | None) -> None:
        """Take over transformers' attention; ``vectors`` [buckets, hidden] are those of all distances."""
        super().__init__()
        self.heads = attention.num_attention_heads
        self.query_proj, self.key_proj, self.value_proj = (
            attention.query_proj,
            attention.key_proj,
            attention.value_proj,
        )
        kinds = [kind for kind in ("c2p", "p2c") if attention.relative_attention and kind in attention.pos_att_type]
        self.scale = 1.0 / math.sqrt(attention.attention_head_size * (1 + len(kinds)))
        self.kinds = kinds
        if not kinds or vectors is None:
            return
        span = attention.pos_ebd_size
        rows = _buckets(attention.position_buckets, attention.max_relative_positions, span)
        self.farthest = len(rows) // 2
        vectors = vectors[: 2 * span].unsqueeze(0)
        shared = attention.share_att_key
        with torch.no_grad():
            if "c2p" in kinds:
                keys = (attention.key_proj if shared else attention.pos_key_proj)(vectors)
                self.register_buffer("position_keys", split_heads(keys, self.heads).transpose(2, 3).contiguous())
            if "p2c" in kinds:
                queries = (attention.query_proj if shared else attention.pos_query_proj)(vectors)
                self.register_buffer("position_queries", split_heads(queries, self.heads).transpose(2, 3).contiguous())
        # transformers counts from the key to the query, the other way around than relative_positions.
        self.register_buffer("query_rows", torch.clamp(rows.flip(0) + span, 0, 2 * span - 1))
        self.register_buffer("key_rows", torch.clamp(-rows.flip(0) + span, 0, 2 * span - 1))

    def forward(self, hidden: Tensor, distances: Tensor, bias: Tensor) -> Tensor:
        """Hidden states [batch, frames, hidden]; ``distances`` from query to key, and the mask's ``bias``."""
        query, key = split_heads(self.query_proj(hidden), self.heads), split_heads(self.key_proj(hidden), self.heads)
        value = split_heads(self.value_proj(hidden), self.heads)
        scores = torch.matmul(query, key.transpose(2, 3))
        if self.kinds:
            near = torch.clamp(distances, -self.farthest, self.farthest) + self.farthest
            if "c2p" in self.kinds:
                scores = scores + by_key(self._of_distances(query, self.position_keys, self.query_rows, near))
            if "p2c" in self.kinds:
                found = by_key(self._of_distances(key, self.position_queries, self.key_rows, near))
                scores = scores + found.transpose(2, 3)
        weights = torch.softmax(scores * self.scale + bias, dim=-1)
        mixed = torch.matmul(weights, value).transpose(1, 2)
        return mixed.reshape(mixed.shape[0], mixed.shape[1], mixed.shape[2] * mixed.shape[3])

    def _of_distances(self, values: Tensor, vectors: Tensor, rows: Tensor, near: Tensor) -> Tensor:
        """Products with the vectors of all distances: [batch, heads, frames, 2 × frames - 1]."""
        return torch.index_select(torch.matmul(values, vectors), 3, torch.index_select(rows, 0, near))


def _buckets(buckets: int, farthest: int, span: int) -> Tensor:
    """The bucket of each distance from -farthest to farthest, as transformers computes it."""
    from transformers.models.sew_d.modeling_sew_d import make_log_bucket_position

    bucket_of: Callable[[Tensor, int, int], Tensor] = make_log_bucket_position
    distances = torch.arange(-farthest, farthest + 1)
    if buckets > 0 and farthest > 0:
        distances = bucket_of(distances, buckets, farthest)
    return distances.to(torch.int64)
