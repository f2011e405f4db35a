"""The pieces of a model with lengths threaded through; the layers inside are transformers' own modules.

Attributes are called as transformers calls them, so that nodes and weights of the graph carry the module paths that a
user of the checkpoint knows (``encoder.layers.3.attention.q_proj``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .lengths import adapter_steps, feature_steps, output_lengths, valid_positions, zero_outside

MASKED = -30000.0
"""Added to the scores of masked keys: their softmax underflows to exactly 0, and float16 still holds it."""


class MaskedGroupNorm(nn.Module):
    """Group norm, one channel in each group, with statistics over each clip's own frames.

    The mean and the mean square are products with a vector that is 1/frames inside the clip and 0 behind it, and what
    remains is one multiplication and one addition: as fast as a group norm without mask in ONNX Runtime (10 s of base
    shape: 92 ms with convolution and GELU, 91 without mask, 180 with selections and sums; benchmarks/export_norms.py).
    The variance is the mean square less the square of the mean, which loses digits where the mean is large: the
    convolution in front must have no bias (a group norm takes it out anyway), and its input is centred.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        """Take over a group norm's parameters; raises ValueError for groups of several channels."""
        super().__init__()
        if norm.num_groups != norm.num_channels:
            raise ValueError("group norm with several channels in a group")
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Normalise [batch, channels, frames] by the statistics of the first ``lengths`` frames."""
        valid = valid_positions(values.shape[2], lengths).to(torch.float32)
        share = (valid / lengths.to(torch.float32).unsqueeze(1)).unsqueeze(2)
        mean = torch.matmul(values, share)
        variance = torch.clamp(torch.matmul(values * values, share) - mean * mean, min=0.0)
        scale = self.weight.unsqueeze(0).unsqueeze(2) / torch.sqrt(variance + self.eps)
        return values * scale + (self.bias.unsqueeze(0).unsqueeze(2) - mean * scale)


class GroupNormLayer(nn.Module):
    """The first convolution of a group-norm model."""

    def __init__(self, layer: Any) -> None:
        """Take over transformers' layer, less the convolution's bias, which the norm subtracts again."""
        super().__init__()
        self.conv = layer.conv
        self.conv.bias = None
        self.layer_norm = MaskedGroupNorm(layer.layer_norm)
        self.activation = layer.activation

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """[batch, channels, samples] to [batch, channels, frames]; ``lengths`` are those behind the convolution."""
        result: Tensor = self.activation(self.layer_norm(self.conv(values), lengths))
        return result


class LayerNormLayer(nn.Module):
    """A convolution of a layer-norm model; the activation runs before the channels go back in front of the frames.

    That is a fifth faster in ONNX Runtime than the order in transformers, and the same numbers.
    """

    def __init__(self, layer: Any) -> None:
        """Take over transformers' layer."""
        super().__init__()
        self.conv, self.layer_norm, self.activation = layer.conv, layer.layer_norm, layer.activation

    def forward(self, values: Tensor) -> Tensor:
        """[batch, channels, samples] to [batch, channels, frames]."""
        result: Tensor = self.activation(self.layer_norm(self.conv(values).transpose(1, 2))).transpose(1, 2)
        return result


class FeatureExtractor(nn.Module):
    """Normalised waveform to convolution features."""

    def __init__(self, extractor: Any, config: Any) -> None:
        """Take over transformers' feature encoder."""
        super().__init__()
        self.steps = feature_steps(config)
        self.conv_layers = nn.ModuleList(_with_lengths(layer) for layer in extractor.conv_layers)

    def forward(self, normalized: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, samples] to features [batch, frames, channels] and their lengths [batch]."""
        hidden = normalized.unsqueeze(1)
        for layer, step in zip(self.conv_layers, self.steps):
            lengths = output_lengths(lengths, step)
            hidden = layer(hidden, lengths) if isinstance(layer, GroupNormLayer) else layer(hidden)
        return hidden.transpose(1, 2), lengths


class Encoder(nn.Module):
    """The transformer, with frames behind a clip's end zeroed before the positional convolution and never attended."""

    def __init__(self, encoder: Any, config: Any) -> None:
        """Take over transformers' encoder; weight normalisation is folded into the weight."""
        super().__init__()
        self.pos_conv_embed = encoder.pos_conv_embed
        # Some HuBERTs normalise before the positional convolution, which turns zeros into something else: it runs
        # here, before the frames behind the end are zeroed.
        self.batch_norm = getattr(self.pos_conv_embed, "batch_norm", None)
        self.pos_conv_embed.batch_norm = None
        for module in list(self.pos_conv_embed.modules()):
            if nn.utils.parametrize.is_parametrized(module, "weight"):
                nn.utils.parametrize.remove_parametrizations(module, "weight")
        self.layer_norm = encoder.layer_norm
        self.layers = encoder.layers
        self.norm_last = bool(config.do_stable_layer_norm)

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden state [batch, frames, hidden], and the states before, between and behind the layers."""
        valid = valid_positions(hidden.shape[1], lengths)
        hidden = zero_outside(hidden, valid.unsqueeze(2))
        bias = torch.where(valid, 0.0, MASKED).unsqueeze(1).unsqueeze(1)
        around = hidden
        if self.batch_norm is not None:
            around = zero_outside(self.batch_norm(hidden.transpose(1, 2)).transpose(1, 2), valid.unsqueeze(2))
        hidden = hidden + self.pos_conv_embed(around)
        if not self.norm_last:
            hidden = self.layer_norm(hidden)
        states = [hidden]
        for layer in self.layers:
            hidden = first(layer(hidden, attention_mask=bias))
            states.append(hidden)
        return (self.layer_norm(hidden) if self.norm_last else hidden), states


class Adapter(nn.Module):
    """Strided convolutions behind the transformer; each sees zeros behind a clip's end, as it would alone."""

    def __init__(self, adapter: Any, config: Any) -> None:
        """Take over transformers' adapter."""
        super().__init__()
        self.proj, self.proj_layer_norm, self.layers = adapter.proj, adapter.proj_layer_norm, adapter.layers
        self.steps = adapter_steps(config)

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [batch, frames, hidden] to fewer frames, and their lengths."""
        if self.proj is not None:
            hidden = self.proj_layer_norm(self.proj(hidden))
        hidden = hidden.transpose(1, 2)
        for layer, step in zip(self.layers, self.steps):
            hidden = layer(zero_outside(hidden, valid_positions(hidden.shape[2], lengths).unsqueeze(1)))
            lengths = output_lengths(lengths, step)
        return hidden.transpose(1, 2), lengths


def _with_lengths(layer: Any) -> nn.Module:
    norm = getattr(layer, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        return GroupNormLayer(layer)
    plain: nn.Module = layer
    return LayerNormLayer(layer) if isinstance(norm, nn.LayerNorm) else plain


def first(outputs: Any) -> Tensor:
    """The hidden states among a module's outputs; transformers' versions differ in whether they come in a tuple."""
    result: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return result
