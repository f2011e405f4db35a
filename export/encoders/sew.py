"""SEW: the plain transformer's layers on half as many frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..attention import mask_bias
from ..lengths import valid_positions
from ..modules import first
from ..network import Network
from ._squeeze import Squeeze

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Encoder(nn.Module):
    """Transformers' layers between squeezing and widening."""

    def __init__(self, core: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' encoder."""
        super().__init__()
        self.squeeze = Squeeze(core.encoder, config)
        self.layer_norm, self.layers = core.encoder.layer_norm, core.encoder.layers

    def forward(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden state [batch, frames, hidden]; the states between have other frames and are left out."""
        values, squeezed = self.squeeze(hidden, lengths)
        values = self.layer_norm(values)
        bias = mask_bias(valid_positions(values.shape[1], squeezed))
        for layer in self.layers:
            values = first(layer(values, attention_mask=bias))
        return self.squeeze.widen(values, squeezed, hidden), []
