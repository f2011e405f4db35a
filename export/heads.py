"""Heads as torch modules: from hidden states to named outputs, pooled over each clip's own frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..runtime.bundle.spec import OUTPUT_LENGTHS, Convolution, Output
from ..runtime.errors import CheckpointError
from ..runtime.heads import ctc, encoder, frame_classification, regression, sequence_classification, xvector
from .families import POOLED, Head
from .labels import Labels
from .lengths import output_lengths, valid_positions, zero_outside
from .network import Network

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class HeadModule(nn.Module):
    """A head: called with the last hidden state, lengths in frames and the states between the layers."""

    outputs: tuple[Output, ...]
    """Its outputs, lengths not among them."""
    names: tuple[str, ...]
    """All that it returns, in order."""
    after: tuple[Convolution, ...] = ()
    """The time arithmetic that it adds."""


class CtcHead(HeadModule):
    """Label scores for each frame."""

    outputs = (Output("logits", ("batch", "frames", "labels"), "unnormalised score of each label at each frame"),)
    names = ("logits", OUTPUT_LENGTHS)

    def __init__(self, model: Network) -> None:
        """Use the model's ``lm_head``."""
        super().__init__()
        self.lm_head = model.lm_head

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, frames, labels] and lengths in frames [batch]."""
        return self.lm_head(hidden), lengths.clone()


class SequenceClassificationHead(HeadModule):
    """Scores for a whole clip: the mean of its frames, projected and classified."""

    outputs = (Output("logits", ("batch", "labels"), "unnormalised score of each label for the clip"),)
    names = ("logits",)

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

    outputs = (Output("hidden_states", ("batch", "frames", "hidden"), "the last layer's hidden state at each frame"),)
    names = ("hidden_states", OUTPUT_LENGTHS)

    def __init__(self, model: Network) -> None:
        """Use nothing of the model: its network is the encoder."""
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

    outputs = (Output("logits", ("batch", "frames", "labels"), "unnormalised score of each label at each frame"),)
    names = ("logits", OUTPUT_LENGTHS)

    def __init__(self, model: Network) -> None:
        """Use the model's ``classifier``."""
        super().__init__()
        self.classifier = model.classifier
        self.layers = LayerSum(model)

    def forward(self, hidden: Tensor, lengths: Tensor, between: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, frames, labels] and lengths in frames [batch]."""
        return self.classifier(self.layers(hidden, between)), lengths.clone()


class XVectorHead(HeadModule):
    """Speaker embedding: time-delay layers, then mean and standard deviation over the clip's own frames."""

    outputs = (
        Output("embeddings", ("batch", "embedding"), "speaker embedding, to be compared by cosine"),
        Output("logits", ("batch", "scores"), "the classifier's output for the embedding"),
    )
    names = ("embeddings", "logits")

    def __init__(self, model: Network) -> None:
        """Use the model's ``projector``, ``tdnn``, ``feature_extractor`` and ``classifier``."""
        super().__init__()
        self.projector = model.projector
        self.tdnn = model.tdnn
        self.feature_extractor = model.feature_extractor
        self.classifier = model.classifier
        self.layers = LayerSum(model)
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


_NUMBERED = re.compile(r"^(label|speaker|spk)[ _-]?\d+$", re.IGNORECASE)
"""Names that only number speakers, such as transformers' own LABEL_0."""
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


def head_options(head: Head, config: PreTrainedConfig, labels: Labels) -> tuple[str, object]:
    """The file in runtime/heads/ for a model and its ``Options``."""
    problem = getattr(config, "problem_type", None)
    if head.name == "ctc":
        return head.name, ctc.Options(silent=labels.silent, lowercase=labels.lowercase)
    if head.name in ("xvector", "encoder"):
        return head.name, xvector.Options() if head.name == "xvector" else encoder.Options()
    if head.name == "frame_classification":
        numbered = all(_NUMBERED.search(name) for name in labels.names)
        return head.name, frame_classification.Options(exchangeable=numbered)
    if problem == "regression":
        return "regression", regression.Options()
    several = problem == "multi_label_classification"
    return head.name, sequence_classification.Options(multi_label=several, groups=labels.groups)
