"""The transformer of Wav2Vec2, HuBERT, UniSpeech and UniSpeech-SAT: a positional convolution, then attention layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..attention import folded_weight_norm, mask_bias
from ..lengths import valid_positions, zero_outside
from ..modules import first
from ..network import Network

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Encoder(nn.Module):
    """Layers of transformers, after a positional convolution that sees zeros after a clip's end."""

    def __init__(self, core: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' encoder; weight normalisation is folded into the weight."""
        super().__init__()
        encoder = core.encoder
        self.pos_conv_embed = encoder.pos_conv_embed
        # Some HuBERTs normalise before the positional convolution, which turns zeros into something else: it runs
        # here, before the frames after the end are zeroed.
        self.batch_norm = getattr(self.pos_conv_embed, "batch_norm", None)
        self.pos_conv_embed.batch_norm = None
        folded_weight_norm(self.pos_conv_embed)
        self.layer_norm = encoder.layer_norm
        self.layers = encoder.layers
        self.norm_last = bool(getattr(config, "do_stable_layer_norm", False))

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden state [batch, frames, hidden], and the states before, between and after the layers."""
        valid = valid_positions(hidden.shape[1], lengths)
        hidden = zero_outside(hidden, valid.unsqueeze(2))
        around = hidden
        if self.batch_norm is not None:
            around = zero_outside(self.batch_norm(hidden.transpose(1, 2)).transpose(1, 2), valid.unsqueeze(2))
        hidden = hidden + self.positions(around, valid)
        if not self.norm_last:
            hidden = self.layer_norm(hidden)
        states = self.run_layers(hidden, mask_bias(valid))
        return (self.layer_norm(states[-1]) if self.norm_last else states[-1]), states

    def positions(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """The positional convolution of hidden states that are zero outside the ``valid`` frames [batch, frames]."""
        result: Tensor = self.pos_conv_embed(hidden)
        return result

    def run_layers(self, hidden: Tensor, bias: Tensor) -> list[Tensor]:
        """The states before, between and after the layers; ``bias`` is added to attention scores."""
        states = [hidden]
        for layer in self.layers:
            states.append(first(layer(states[-1], attention_mask=bias)))
        return states
