"""Heads as torch modules: from hidden states to named outputs, pooled over each clip's frames without padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..runtime.bundle.spec import Convolution, Output
from ..runtime.errors import CheckpointError
from .families import POOLED, Head
from .head_spec import OUTPUTS
from .lengths import output_lengths, valid_positions, zero_outside
from .network import Network


class HeadModule(nn.Module):
    """A head: called with the last hidden state, lengths in frames and the states between the layers."""

    outputs: tuple[Output, ...]
    """Its outputs, lengths not among them."""
    after: tuple[Convolution, ...] = ()
    """The time arithmetic that it adds."""
    reads_layers: bool = False
    """Whether it reads the sum of the encoder's layers: then the adapter, which follows them, has no part in it."""


class CtcHead(HeadModule):
    """Label scores for each frame."""

    outputs = OUTPUTS["ctc"]

    def __init__(self, model: Network) -> None:
        """Use the model's ``lm_head``."""
        super().__init__()
        self.lm_head = model.lm_head

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, frames, labels] and lengths in frames [batch]."""
        return self.lm_head(hidden), lengths.clone()


class SequenceClassificationHead(HeadModule):
    """Scores for a whole clip: the mean of its frames, projected and classified."""

    outputs = OUTPUTS["sequence_classification"]

    def __init__(self, model: Network) -> None:
        """Use the model's ``projector`` and ``classifier``."""
        super().__init__()
        self.projector = model.projector
        self.classifier = model.classifier
        self.layers = LayerSum(model)

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, labels]."""
        hidden = self.projector(self.layers(hidden, between))
        valid = valid_positions(hidden.shape[1], lengths).unsqueeze(2)
        total = zero_outside(hidden, valid).sum(1)
        return (self.classifier(total / lengths.to(torch.float32).unsqueeze(1)),)


class EncoderHead(HeadModule):
    """The last hidden state, for models without a head."""

    outputs = OUTPUTS["encoder"]

    def __init__(self, model: Network) -> None:
        """Nothing of the model is needed: its network is the encoder."""
        super().__init__()

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Hidden states [batch, frames, hidden] and lengths in frames [batch]."""
        return hidden, lengths.clone()


class PooledHead(SequenceClassificationHead):
    """Scores for a whole clip: the mean of its frames, through a layer with tanh."""

    def __init__(self, model: Network) -> None:
        """Use the model's ``classifier``."""
        HeadModule.__init__(self)
        self.classifier = model.classifier

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, labels]."""
        valid = valid_positions(hidden.shape[1], lengths).unsqueeze(2)
        total = zero_outside(hidden, valid).sum(1)
        return (self.classifier(total / lengths.to(torch.float32).unsqueeze(1)),)


class FrameClassificationHead(HeadModule):
    """Scores for each frame."""

    outputs = OUTPUTS["frame_classification"]

    def __init__(self, model: Network) -> None:
        """Use the model's ``classifier``."""
        super().__init__()
        self.classifier = model.classifier
        self.layers = LayerSum(model)

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, frames, labels] and lengths in frames [batch]."""
        return self.classifier(self.layers(hidden, between)), lengths.clone()


class XVectorHead(HeadModule):
    """Speaker embedding: time-delay layers, then mean and standard deviation over the clip's frames."""

    outputs = OUTPUTS["xvector"]

    def __init__(self, model: Network) -> None:
        """Use the model's ``projector``, ``tdnn``, ``feature_extractor`` and ``classifier``."""
        super().__init__()
        self.projector = model.projector
        self.tdnn = model.tdnn
        self.feature_extractor = model.feature_extractor
        self.classifier = model.classifier
        self.layers = LayerSum(model)
        self.reads_layers = self.layers.weights is not None
        self.steps = tuple(Convolution((t.kernel_size - 1) * t.dilation + 1, 1, 0) for t in model.tdnn)
        # A standard deviation needs two frames.
        self.after = (*self.steps, Convolution(2, 1, 0))

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Embeddings and logits [batch, size]."""
        hidden = self.projector(self.layers(hidden, between))
        for layer, step in zip(self.tdnn, self.steps):
            hidden = layer(hidden)
            lengths = output_lengths(lengths, step)
        valid = valid_positions(hidden.shape[1], lengths).unsqueeze(2)
        count = lengths.to(torch.float32).unsqueeze(1)
        mean = zero_outside(hidden, valid).sum(1) / count
        centred = zero_outside(hidden - mean.unsqueeze(1), valid)
        deviation = torch.sqrt((centred * centred).sum(1) / (count - 1.0))
        embeddings = self.feature_extractor(torch.cat((mean, deviation), dim=1))
        return embeddings, self.classifier(embeddings)


class LayerSum(nn.Module):
    """The last hidden state, or the learnt weighted sum of all layers where the checkpoint has one."""

    def __init__(self, model: Network) -> None:
        """Use the model's ``layer_weights``."""
        super().__init__()
        weighted = bool(getattr(model.config, "use_weighted_layer_sum", False))
        if weighted and hasattr(model.config, "squeeze_factor"):
            raise CheckpointError(
                "use_weighted_layer_sum with SEW is not exported: its layers have other frames than its output"
            )
        self.weights = model.layer_weights if weighted else None

    def forward(self, hidden: Tensor, between: list[Tensor]) -> Tensor:
        """Hidden states [batch, frames, hidden]."""
        if self.weights is None:
            return hidden
        shares = torch.softmax(self.weights, dim=-1)
        total = between[0] * shares[0]
        for index in range(1, len(between)):
            total = total + between[index] * shares[index]
        return total


_MODULES: dict[str, Callable[[Network], HeadModule]] = {
    "ctc": CtcHead,
    "sequence_classification": SequenceClassificationHead,
    "frame_classification": FrameClassificationHead,
    "xvector": XVectorHead,
    "encoder": EncoderHead,
}


def head_module(head: Head, model: Network) -> HeadModule:
    """The head of a model as a torch module, with its outputs and the time arithmetic that it adds (``after``)."""
    return (PooledHead if head == POOLED else _MODULES[head.name])(model)
