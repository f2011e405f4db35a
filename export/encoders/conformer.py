"""Conformer layers (Gulati et al., 2020), as Wav2Vec2-Conformer and Wav2Vec2-BERT have them.

1. Positions enter attention as rotations of its input (``rotary``), as sinusoids of the distance (``relative``) or as
   learnt vectors of the distance, up to a farthest one (``relative_key``). All are computed in the graph, for any
   length.
2. The depthwise convolution of each layer reads zeros after a clip's end. Wav2Vec2-BERT's is causal: it reads only
   earlier frames.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..attention import attend, by_key, mask_bias, relative_positions, split_heads
from ..lengths import valid_positions, zero_outside
from ..network import Network

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

WAVELENGTH = 10000.0
"""Base of the sinusoids of relative positions (Vaswani et al., 2017), fixed in transformers."""


class Encoder(nn.Module):
    """Conformer layers with lengths threaded through."""

    frequencies: Tensor

    def __init__(self, core: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' encoder, and Wav2Vec2-BERT's feed-forward part after it."""
        super().__init__()
        self.layers = nn.ModuleList(Layer(layer) for layer in core.encoder.layers)
        self.layer_norm = getattr(core.encoder, "layer_norm", None)
        self.intermediate_ffn = getattr(core, "intermediate_ffn", None)
        self.kind = config.position_embeddings_type
        self.size = config.hidden_size
        if self.kind == "rotary":
            size = config.hidden_size // config.num_attention_heads
            steps = torch.arange(0, size, 2, dtype=torch.int64).float() / size
            self.register_buffer("frequencies", 1.0 / (config.rotary_embedding_base**steps))
        elif self.kind == "relative":
            steps = torch.arange(0, self.size, 2, dtype=torch.int64).float()
            self.register_buffer("frequencies", torch.exp(steps * -(math.log(WAVELENGTH) / self.size)))

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden state [batch, frames, hidden], and the states before, between and after the layers."""
        valid = valid_positions(hidden.shape[1], lengths)
        inside, bias = valid.unsqueeze(1), mask_bias(valid)
        hidden = zero_outside(hidden, valid.unsqueeze(2))
        positions = self._positions(hidden.shape[1])
        states = [hidden]
        for layer in self.layers:
            states.append(layer(states[-1], positions, bias, inside))
        last = states[-1] if self.layer_norm is None else self.layer_norm(states[-1])
        if self.intermediate_ffn is not None:
            last = last + 0.5 * self.intermediate_ffn(last)
        return last, states

    def _positions(self, frames: int) -> Tensor:
        """What attention takes: cosines and sines of each frame, sinusoids of each distance, or the distances."""
        if self.kind == "rotary":
            angles = torch.arange(frames, dtype=torch.int64).to(torch.float32).unsqueeze(1) * self.frequencies
            angles = torch.cat((angles, angles), dim=1)
            return torch.stack((torch.cos(angles), torch.sin(angles)))
        distances = relative_positions(frames)
        if self.kind != "relative":
            return distances
        # transformers counts from the key to the query.
        angles = (-distances).to(torch.float32).unsqueeze(1) * self.frequencies
        pairs = torch.stack((torch.sin(angles), torch.cos(angles)), dim=2)
        return pairs.reshape(1, pairs.shape[0], self.size)


class Layer(nn.Module):
    """One layer: half a feed-forward part, attention, a convolution and the other half."""

    def __init__(self, layer: Network) -> None:
        """Take over transformers' layer."""
        super().__init__()
        self.ffn1_layer_norm, self.ffn1 = layer.ffn1_layer_norm, layer.ffn1
        self.self_attn_layer_norm, self.self_attn = layer.self_attn_layer_norm, Attention(layer.self_attn)
        self.conv_module = ConvolutionModule(layer.conv_module)
        self.ffn2_layer_norm, self.ffn2 = layer.ffn2_layer_norm, layer.ffn2
        self.final_layer_norm = layer.final_layer_norm

    def forward(self, hidden: Tensor, positions: Tensor, bias: Tensor, inside: Tensor) -> Tensor:
        """[batch, frames, hidden]; the others as ``Attention`` and ``ConvolutionModule`` take them."""
        hidden = self.ffn1(self.ffn1_layer_norm(hidden)) * 0.5 + hidden
        hidden = self.self_attn(self.self_attn_layer_norm(hidden), positions, bias) + hidden
        hidden = self.conv_module(hidden, inside) + hidden
        result: Tensor = self.final_layer_norm(self.ffn2(self.ffn2_layer_norm(hidden)) * 0.5 + hidden)
        return result


class Attention(nn.Module):
    """Self-attention with one of the three kinds of positions, or none."""

    def __init__(self, attention: Network) -> None:
        """Take over transformers' attention."""
        super().__init__()
        self.heads, self.scale, self.kind = attention.num_heads, attention.scaling, attention.position_embeddings_type
        self.linear_q, self.linear_k, self.linear_v = attention.linear_q, attention.linear_k, attention.linear_v
        self.linear_out = attention.linear_out
        if self.kind == "relative":
            self.linear_pos = attention.linear_pos
            self.pos_bias_u, self.pos_bias_v = attention.pos_bias_u, attention.pos_bias_v
        elif self.kind == "relative_key":
            self.distance_embedding = attention.distance_embedding
            self.left = attention.left_max_position_embeddings
            self.right = attention.right_max_position_embeddings

    def forward(self, hidden: Tensor, positions: Tensor, bias: Tensor) -> Tensor:
        """Hidden states [batch, frames, hidden]; ``positions`` as ``Encoder`` makes them, and the mask's ``bias``."""
        turned = self._rotated(hidden, positions) if self.kind == "rotary" else hidden
        query, key = split_heads(self.linear_q(turned), self.heads), split_heads(self.linear_k(turned), self.heads)
        value = split_heads(self.linear_v(hidden), self.heads)
        if self.kind == "relative":
            vectors = split_heads(self.linear_pos(positions), self.heads)
            scores = torch.matmul(query + self.pos_bias_v.unsqueeze(0).unsqueeze(2), vectors.transpose(2, 3))
            bias = by_key(scores) * self.scale + bias
            query = query + self.pos_bias_u.unsqueeze(0).unsqueeze(2)
        elif self.kind == "relative_key":
            near = torch.clamp(positions, -self.left, self.right) + self.left
            scores = torch.matmul(query, self.distance_embedding.weight.transpose(0, 1))
            bias = by_key(torch.index_select(scores, 3, near)) * self.scale + bias
        result: Tensor = self.linear_out(attend(query, key, value, self.scale, bias))
        return result

    def _rotated(self, hidden: Tensor, positions: Tensor) -> Tensor:
        parts = split_heads(hidden, self.heads)
        half = parts.shape[3] // 2
        turned = torch.cat((-parts[..., half:], parts[..., :half]), dim=3)
        mixed = (parts * positions[0] + turned * positions[1]).transpose(1, 2)
        return mixed.reshape(mixed.shape[0], mixed.shape[1], mixed.shape[2] * mixed.shape[3])


class ConvolutionModule(nn.Module):
    """The convolution module of a layer, with zeros after a clip's end."""

    def __init__(self, module: Network) -> None:
        """Take over transformers' module."""
        super().__init__()
        self.layer_norm, self.activation = module.layer_norm, module.activation
        self.pointwise_conv1, self.pointwise_conv2 = module.pointwise_conv1, module.pointwise_conv2
        self.depthwise_conv = module.depthwise_conv
        self.batch_norm = getattr(module, "batch_norm", None)
        self.depthwise_layer_norm = getattr(module, "depthwise_layer_norm", None)
        self.causal = self.depthwise_conv.kernel_size[0] - 1 if self.depthwise_layer_norm is not None else 0

    def forward(self, hidden: Tensor, inside: Tensor) -> Tensor:
        """[batch, frames, hidden]; ``inside`` [batch, 1, frames] marks a clip's own frames."""
        values = functional.glu(self.pointwise_conv1(self.layer_norm(hidden).transpose(1, 2)), dim=1)
        values = self.depthwise_conv(functional.pad(zero_outside(values, inside), (self.causal, 0)))
        if self.batch_norm is not None:
            values = self.batch_norm(values)
        if self.depthwise_layer_norm is not None:
            values = self.depthwise_layer_norm(values.transpose(1, 2)).transpose(1, 2)
        result: Tensor = self.pointwise_conv2(self.activation(values)).transpose(1, 2)
        return result
