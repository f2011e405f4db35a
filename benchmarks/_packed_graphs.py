"""Feed the packed graphs of Triton as its server does, and decode their outputs as a client would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.heads import ctc

Clip: TypeAlias = NDArray[np.float32]
"""A clip [samples] at the model's rate."""


def padded(clips: Sequence[Clip]) -> dict[str, NDArray[np.generic]]:
    """A batch that the client has padded, and its lengths."""
    longest = max(len(clip) for clip in clips)
    batch = np.stack([np.pad(clip, (0, longest - len(clip))) for clip in clips])
    return {"input_values": batch, "input_lengths": np.array([len(clip) for clip in clips])}


def flat(clips: Sequence[Clip]) -> dict[str, NDArray[np.generic]]:
    """The inputs that the server makes from requests: one row, and BATCH_ITEM_SHAPE."""
    sizes = np.array([[len(clip)] for clip in clips], dtype=np.int32)
    return {"input_values": np.concatenate(clips), "input_sizes": sizes}


def decoded(logits: NDArray[np.float32], spec: ModelSpec) -> tuple[str, list[float]]:
    """Text and word starts by greedy decoding: best labels, repeats and blanks dropped, split at delimiters."""
    assert spec.blank is not None
    text, starts, between = "", [], True
    for token in ctc.tokens(logits, spec.blank):
        if spec.labels[token.label] == spec.delimiter:
            text, between = f"{text} ", True
            continue
        if between:
            starts.append(token.start * spec.stride / spec.sample_rate)
        text, between = text + spec.labels[token.label], False
    return text, starts
