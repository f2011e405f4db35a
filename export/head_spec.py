"""A head as a bundle describes it: its outputs, and its options in runtime/heads/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..runtime.bundle.spec import Output
from ..runtime.heads import ctc, encoder, frame_classification, regression, sequence_classification, xvector
from .families import Head
from .labels import MULTI_LABEL, REGRESSION, Labels

if TYPE_CHECKING:
    from .steps import Config

_FRAMES = (Output("logits", ("batch", "frames", "labels"), "unnormalised score of each label at each frame"),)
OUTPUTS: Mapping[str, tuple[Output, ...]] = {
    "ctc": _FRAMES,
    "sequence_classification": (
        Output("logits", ("batch", "labels"), "unnormalised score of each label for the clip"),
    ),
    "frame_classification": _FRAMES,
    "xvector": (
        Output("embeddings", ("batch", "embedding"), "speaker embedding, to be compared by cosine"),
        Output("logits", ("batch", "scores"), "the classifier's output for the embedding"),
    ),
    "encoder": (Output("hidden_states", ("batch", "frames", "hidden"), "the last layer's hidden state at each frame"),),
}
"""The outputs of each head of families.HEADS; lengths are not among them."""
THEIRS = {"hidden_states": "last_hidden_state"}
"""Transformers' names of outputs, where they differ."""
_NUMBERED = re.compile(r"^(label|speaker|spk)[ _-]?\d+$", re.IGNORECASE)
"""Names that only number speakers, such as transformers' default LABEL_0."""


def head_options(head: Head, config: Config, labels: Labels) -> tuple[str, object]:
    """The file in runtime/heads/ for a model and its ``Options``."""
    problem = getattr(config, "problem_type", None)
    if head.name == "ctc":
        return head.name, ctc.Options(silent=labels.silent, lowercase=labels.lowercase)
    if head.name in ("xvector", "encoder"):
        return head.name, xvector.Options() if head.name == "xvector" else encoder.Options()
    if head.name == "frame_classification":
        numbered = all(_NUMBERED.search(name) for name in labels.names)
        return head.name, frame_classification.Options(exchangeable=numbered)
    if problem == REGRESSION:
        return "regression", regression.Options()
    several = problem == MULTI_LABEL
    return head.name, sequence_classification.Options(multi_label=several, groups=labels.groups)
