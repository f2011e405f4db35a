"""Transformer encoders with lengths threaded through; a file is the encoder of one or more families.

Each file has a class ``Encoder`` made from transformers' network and its configuration. It is called with projected
features [batch, frames, hidden] and lengths [batch], and returns the last hidden state and the states before, between
and after its layers. A clip's frames never depend on what follows them: frames after its end are zero wherever a
convolution would read them, and attention to them is masked. Attributes keep transformers' names, so that the nodes and
weights of a graph have the paths that a user of the checkpoint knows (``encoder.layers.3.attention.q_proj``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from torch import nn

from ..network import Network

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def encoder(name: str, core: Network, config: PreTrainedConfig) -> nn.Module:
    """The encoder of the file ``name``, made from transformers' network ``core``."""
    made: nn.Module = import_module(f"{__name__}.{name}").Encoder(core, config)
    return made
