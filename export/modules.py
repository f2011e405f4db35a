"""The modules around an encoder, with lengths threaded through; the layers inside are transformers' modules.

Attributes have transformers' names, so that nodes and weights of the graph have the module paths that a user of the
checkpoint knows (``encoder.layers.3.attention.q_proj``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..runtime.audio.loudness import VARIANCE_FLOOR
from ..runtime.bundle.spec import NORM_MEAN, NORM_MEAN_SQUARE
from .attention import mask_bias
from .lengths import output_lengths, valid_positions, zero_outside
from .network import Network
from .operators import mark
from .preprocessing import SUMMED_AT_ONCE
from .steps import adapter_steps, feature_steps

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class WaveformNorm(nn.Module):
    """Zero mean and unit variance over each clip's own samples.

    Sums of ``SUMMED_AT_ONCE`` samples are computed first, and then their sum: ONNX Runtime adds float32 one after the
    other and rounds every sample of digital silence the same way. In one sum over 30 s this leaves a mean of 4e-5 of
    the deviation, which layer norms of quiet frames enlarge to 5e-3 in the logits. The mean is subtracted twice, for
    recordings with an offset: the second time it removes the rest that rounding left.

    Sums of sums are again of ``SUMMED_AT_ONCE``, so that 16 s are one number: the order in which an engine adds many
    depends on how many there are, and a clip that is padded would be normalised otherwise than alone, by a last digit,
    which INT8 may round to the next step.
    """

    def forward(self, waveform: Tensor, lengths: Tensor, valid: Tensor) -> Tensor:
        """Normalise [batch, samples], which are zero where they are not ``valid`` [batch, samples]."""
        count = lengths.to(torch.float32).unsqueeze(1)
        for _ in range(2):
            waveform = zero_outside(waveform - _sum(waveform) / count, valid)
        return waveform / torch.sqrt(_sum(waveform * waveform) / count + VARIANCE_FLOOR)


def _sum(values: Tensor) -> Tensor:
    """The sum [batch, 1] of values [batch, samples]."""
    means = values.unsqueeze(1)
    for _ in range(2):
        means = functional.avg_pool1d(functional.pad(means, (0, SUMMED_AT_ONCE - 1)), SUMMED_AT_ONCE, SUMMED_AT_ONCE)
    return means.sum(2) * SUMMED_AT_ONCE**2


class MaskedGroupNorm(nn.Module):
    """Group norm, one channel in each group, with statistics over each clip's frames without padding.

    The mean and the mean square are products with a vector that is 1/frames inside the clip and 0 after it, followed by
    one multiplication and one addition: as fast as a group norm without mask in ONNX Runtime (10 s of base
    shape: 92 ms with convolution and GELU, 91 without mask, 180 with selections and sums; benchmarks/export_norms.py).
    The variance is the mean square less the square of the mean, which loses digits where the mean is large. So the
    convolution before it must have no bias (a group norm subtracts it anyway), and its input is centred.
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
        mean = mark(torch.matmul(values, share), NORM_MEAN)
        square = mark(torch.matmul(values * values, share), NORM_MEAN_SQUARE)
        variance = torch.clamp(square - mean * mean, min=0.0)
        scale = self.weight.unsqueeze(0).unsqueeze(2) / torch.sqrt(variance + self.eps)
        return values * scale + (self.bias.unsqueeze(0).unsqueeze(2) - mean * scale)


class GroupNormLayer(nn.Module):
    """The first convolution of a group-norm model."""

    def __init__(self, layer: Network) -> None:
        """Take over transformers' layer without the convolution's bias, which the norm would subtract."""
        super().__init__()
        self.conv = layer.conv
        self.conv.bias = None
        self.layer_norm = MaskedGroupNorm(layer.layer_norm)
        self.activation = layer.activation

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """[batch, channels, samples] to [batch, channels, frames]; ``lengths`` are those after the convolution."""
        result: Tensor = self.activation(self.layer_norm(self.conv(values), lengths))
        return result


class LayerNormLayer(nn.Module):
    """A convolution of a layer-norm model; the activation runs before the channels are transposed back.

    That is a fifth faster in ONNX Runtime than the order in transformers, with the same numbers.
    """

    def __init__(self, layer: Network) -> None:
        """Take over transformers' layer."""
        super().__init__()
        self.conv, self.layer_norm, self.activation = layer.conv, layer.layer_norm, layer.activation

    def forward(self, values: Tensor) -> Tensor:
        """[batch, channels, samples] to [batch, channels, frames]."""
        result: Tensor = self.activation(self.layer_norm(self.conv(values).transpose(1, 2))).transpose(1, 2)
        return result


class FeatureExtractor(nn.Module):
    """Normalised waveform to convolution features."""

    def __init__(self, extractor: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' feature encoder."""
        super().__init__()
        self.steps = feature_steps(config)
        self.conv_layers = nn.ModuleList(_with_lengths(layer) for layer in extractor.conv_layers)
        self.channels = int(config.conv_dim[-1])

    def forward(self, normalized: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, samples] to features [batch, frames, channels] and their lengths [batch]."""
        hidden = normalized.unsqueeze(1)
        for layer, step in zip(self.conv_layers, self.steps):
            lengths = output_lengths(lengths, step)
            hidden = layer(hidden, lengths) if isinstance(layer, GroupNormLayer) else layer(hidden)
        return hidden.transpose(1, 2), lengths


class Adapter(nn.Module):
    """Strided convolutions after the transformer; each reads zeros after a clip's end, as for the clip alone."""

    def __init__(self, adapter: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' adapter."""
        super().__init__()
        self.proj, self.proj_layer_norm = adapter.proj, adapter.proj_layer_norm
        self.steps = adapter_steps(config)
        self.layers = nn.ModuleList(
            AttentiveAdapterLayer(layer) if hasattr(layer, "self_attn") else ConvolutionAdapterLayer(layer)
            for layer in adapter.layers
        )

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [batch, frames, hidden] to fewer frames, and their lengths."""
        if self.proj is not None:
            hidden = self.proj_layer_norm(self.proj(hidden))
        for layer, step in zip(self.layers, self.steps):
            inside = valid_positions(hidden.shape[1], lengths).unsqueeze(1)
            lengths = output_lengths(lengths, step)
            hidden = layer(hidden, inside, lengths)
        return hidden, lengths


class ConvolutionAdapterLayer(nn.Module):
    """A gated convolution."""

    def __init__(self, layer: Network) -> None:
        """Take over transformers' layer."""
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, inside: Tensor, lengths: Tensor) -> Tensor:
        """[batch, frames, hidden] to fewer frames; ``inside`` [batch, 1, frames] marks a clip's own frames."""
        result: Tensor = self.layer(zero_outside(hidden.transpose(1, 2), inside)).transpose(1, 2)
        return result


class AttentiveAdapterLayer(nn.Module):
    """Wav2Vec2-BERT's: attention and a feed-forward part on the frames of a gated convolution, and beside them."""

    def __init__(self, layer: Network) -> None:
        """Take over transformers' layer."""
        super().__init__()
        self.residual_layer_norm, self.residual_conv = layer.residual_layer_norm, layer.residual_conv
        self.self_attn_layer_norm, self.self_attn_conv = layer.self_attn_layer_norm, layer.self_attn_conv
        self.ffn_layer_norm, self.ffn = layer.ffn_layer_norm, layer.ffn
        self.self_attn = layer.self_attn

    def forward(self, hidden: Tensor, inside: Tensor, lengths: Tensor) -> Tensor:
        """[batch, frames, hidden] to fewer frames, of which ``lengths`` are a clip's own."""
        residual = _gated(self.residual_conv, self.residual_layer_norm(hidden), inside)
        values = _gated(self.self_attn_conv, self.self_attn_layer_norm(hidden), inside)
        bias = mask_bias(valid_positions(values.shape[1], lengths))
        values = first(self.self_attn(values, attention_mask=bias)) + residual
        result: Tensor = self.ffn(self.ffn_layer_norm(values)) + values
        return result


def _gated(convolution: Network, hidden: Tensor, inside: Tensor) -> Tensor:
    return functional.glu(convolution(zero_outside(hidden.transpose(1, 2), inside)), dim=1).transpose(1, 2)


def _with_lengths(layer: Network) -> nn.Module:
    norm = getattr(layer, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        return GroupNormLayer(layer)
    plain: nn.Module = layer
    return LayerNormLayer(layer) if isinstance(norm, nn.LayerNorm) else plain


def first(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The hidden states among a module's outputs; transformers' versions differ in whether they come in a tuple."""
    return outputs[0] if isinstance(outputs, tuple) else outputs
