"""The head of the published emotion models: mean over time, a linear layer, tanh, a linear layer.

Their class, ``Wav2Vec2ForSpeechClassification``, is not in transformers but in the text of their model cards (Wagner et
al., 2023, "Dawn of the transformer era in speech emotion recognition"). It is written here from that description.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .families import Family
from .network import Network

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class PooledClassifier(nn.Module):
    """Mean-pooled hidden states to scores or values."""

    def __init__(self, config: PreTrainedConfig) -> None:
        """Make the layers that config.json asks for."""
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, int(config.num_labels or 0))

    def forward(self, pooled: Tensor) -> Tensor:
        """[batch, hidden] to [batch, labels]."""
        result: Tensor = self.out_proj(torch.tanh(self.dense(pooled)))
        return result


class PooledModel(nn.Module):
    """A network of transformers with that head; called as transformers' models are."""

    def __init__(self, config: PreTrainedConfig, family: Family) -> None:
        """Make the model; raises ValueError for a pooling other than the mean."""
        super().__init__()
        import transformers

        if getattr(config, "pooling_mode", "mean") != "mean":
            raise ValueError(f"pooling_mode is {config.pooling_mode}; only mean is known")
        network: Network = getattr(transformers, f"{family.classes}Model")
        self.config, self.core = config, family.core
        self.add_module(family.core, network(config))
        self.classifier = PooledClassifier(config)

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Waveforms or log-mel features, under the network's name, to an object with ``logits`` [batch, labels]."""
        hidden = getattr(self, self.core)(**inputs).last_hidden_state
        return SimpleNamespace(logits=self.classifier(hidden.mean(dim=1)))
