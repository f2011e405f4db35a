"""data2vec-audio: as the plain transformer, with several positional convolutions in a row.

Each of them must see zeros after a clip's end, as the first does, since each pads with zeros for a clip alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ..lengths import zero_outside
from ..network import Network
from . import transformer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Encoder(transformer.Encoder):
    """The plain transformer, norms after attention and feed-forward part, with layered positional convolutions."""

    def __init__(self, core: Network, config: PreTrainedConfig) -> None:
        """Take over transformers' encoder, which does not look at ``do_stable_layer_norm``."""
        super().__init__(core, config)
        self.norm_last = False

    def positions(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """The positional convolutions of hidden states that are zero outside the ``valid`` frames [batch, frames]."""
        inside, hidden = valid.unsqueeze(1), hidden.transpose(1, 2)
        for layer in self.pos_conv_embed.layers:
            hidden = layer(zero_outside(hidden, inside))
        return hidden.transpose(1, 2)
