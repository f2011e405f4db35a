"""The graph contract as a torch module: raw waveform and lengths in, the head's outputs and lengths out.

Normalisation and masking are inside, in FP32. Padding of any value, NaN included, never changes a clip's frames:

1. Samples after a clip's end are replaced by zero before and after normalisation.
2. Statistics (waveform normalisation, group norm, pooling) are taken over a clip's samples or frames without padding.
3. Hidden states after a clip's end are zero wherever a convolution with padding follows (positional, adapter), because
   the convolution reads zeros there when the clip is run alone.
4. Attention scores towards frames after the end get ``attention.MASKED``, whose softmax is exactly zero.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..runtime.bundle.spec import FEATURE_LENGTHS, FEATURES, NORMALIZED
from .encoders import encoder
from .families import Family
from .heads import HeadModule
from .lengths import valid_positions, zero_outside
from .log_mel import LogMelExtractor
from .modules import Adapter, FeatureExtractor, WaveformNorm, first
from .network import Network
from .operators import mark
from .preprocessing import Preprocessing


class ContractGraph(nn.Module):
    """A model of the family with the contract around it, in eval mode.

    Eval mode is set here: torch's exporter restores the mode of the outermost module, and that of all modules inside.
    """

    def __init__(self, model: Network, family: Family, head: HeadModule, preprocessing: Preprocessing) -> None:
        """Wrap ``model``, whose network is its attribute ``family.core``; ``head`` turns hidden states into outputs."""
        super().__init__()
        core: Network = getattr(model, family.core, model)  # a bare encoder is its own network
        self.waveform_norm = WaveformNorm() if preprocessing.normalize else None
        self.feature_extractor = (
            LogMelExtractor(preprocessing)
            if preprocessing.frontend == "log-mel"
            else FeatureExtractor(core.feature_extractor, model.config)
        )
        self.layer_norm = getattr(core, "layer_norm", None)  # SEW keeps the projection's norm and linear layer apart
        self.feature_projection = getattr(core, "feature_projection", None)
        self.encoder = encoder(family.encoder, core, model.config)
        adapter = getattr(core, "adapter", None)
        self.adapter = None if adapter is None or head.reads_layers else Adapter(adapter, model.config)
        self.head = head
        self.eval()

    def forward(self, input_values: Tensor, input_lengths: Tensor) -> tuple[Tensor, ...]:
        """Raw waveform [batch, samples] and lengths [batch] to the head's outputs."""
        normalized = mark(self._normalized(input_values, input_lengths), NORMALIZED)
        features, lengths = self.feature_extractor(normalized, input_lengths)
        features, lengths = mark(features, FEATURES), mark(lengths, FEATURE_LENGTHS)
        hidden, states = self.encoder(self._projected(features), lengths)
        if self.adapter is not None:
            hidden, lengths = self.adapter(hidden, lengths)
        outputs: tuple[Tensor, ...] = self.head(hidden, lengths, states)
        return outputs

    def _projected(self, features: Tensor) -> Tensor:
        """Features [batch, frames, channels] at the encoder's width [batch, frames, hidden]."""
        if self.layer_norm is not None:
            features = self.layer_norm(features)
        return features if self.feature_projection is None else first(self.feature_projection(features))

    def _normalized(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        valid = valid_positions(waveform.shape[1], lengths)
        waveform = zero_outside(waveform, valid)
        return waveform if self.waveform_norm is None else self.waveform_norm(waveform, lengths, valid)
