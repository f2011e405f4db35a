"""Shapes that no published checkpoint has, and heads: all pass the same gate (plain ones: test_architectures.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wav2edge.export.checkpoint import Checkpoint
from wav2edge.runtime.bundle.read import Bundle

LAYER: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
GROUP: dict[str, Any] = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
TDNN: dict[str, Any] = {"tdnn_dim": (20, 24, 20, 20, 40), "xvector_output_dim": 24}

QUICK: dict[str, dict[str, Any]] = {
    "sequence classification": {**LAYER, "head": "ForSequenceClassification", "num_labels": 5},
    "x-vector": {**LAYER, "head": "ForXVector", **TDNN},
}
SLOW: dict[str, dict[str, Any]] = {
    "96 hidden, 3 layers, 48 channels, odd positional kernel": {
        **LAYER,
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "conv_dim": (48,) * 7,
        "num_attention_heads": 6,
        "intermediate_size": 200,
        "num_conv_pos_embeddings": 31,
        "num_conv_pos_embedding_groups": 3,
    },
    "group norm with bias and pre-norm layers": {
        **GROUP,
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "conv_dim": (48,) * 7,
        "num_attention_heads": 3,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16,
        "conv_bias": True,
        "do_stable_layer_norm": True,
    },
    "four convolutions of growing width, post-norm layers": {
        **LAYER,
        "conv_dim": (24, 24, 32, 40),
        "conv_kernel": (8, 4, 4, 3),
        "conv_stride": (4, 2, 5, 4),
        "num_feat_extract_layers": 4,
        "conv_bias": False,
        "do_stable_layer_norm": False,
        "num_conv_pos_embeddings": 5,
        "num_conv_pos_embedding_groups": 2,
        "vocab_size": 9,
    },
    "five convolutions, other activations, one group": {
        **GROUP,
        "conv_dim": (24, 24, 32, 40, 16),
        "conv_kernel": (11, 3, 3, 2, 2),
        "conv_stride": (5, 4, 4, 2, 2),
        "num_feat_extract_layers": 5,
        "hidden_act": "relu",
        "feat_extract_activation": "gelu_new",
        "num_conv_pos_embeddings": 2,
        "num_conv_pos_embedding_groups": 1,
        "num_hidden_layers": 1,
    },
    "kernel of one, stride beyond the kernel": {
        **GROUP,
        "conv_dim": (16, 20, 24),
        "conv_kernel": (40, 1, 3),
        "conv_stride": (20, 4, 4),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 3,
        "num_conv_pos_embedding_groups": 32,
        "num_attention_heads": 1,
    },
    "adapter of another width": {
        **GROUP,
        "add_adapter": True,
        "num_adapter_layers": 2,
        "output_hidden_size": 24,
        "adapter_kernel_size": 4,
        "adapter_stride": 3,
    },
    "adapter": {**LAYER, "add_adapter": True, "num_adapter_layers": 3},
    "attention adapters": {**LAYER, "adapter_attn_dim": 16},
    "weighted layer sum": {
        **GROUP,
        "head": "ForSequenceClassification",
        "num_labels": 3,
        "use_weighted_layer_sum": True,
        "classifier_proj_size": 24,
    },
    "weighted layer sum, pre-norm layers": {
        **LAYER,
        "head": "ForSequenceClassification",
        "num_labels": 2,
        "use_weighted_layer_sum": True,
    },
    "x-vector of a weighted layer sum": {**GROUP, "head": "ForXVector", **TDNN, "use_weighted_layer_sum": True},
    "hubert with batch norm": {**GROUP, "classes": "Hubert", "conv_pos_batch_norm": True},
    "hubert without projection norm": {**GROUP, "classes": "Hubert", "feat_proj_layer_norm": False},
    "hubert sequence classification": {
        **GROUP,
        "classes": "Hubert",
        "head": "ForSequenceClassification",
        "num_labels": 4,
        "use_weighted_layer_sum": True,
    },
    "unispeech-sat x-vector": {**GROUP, "classes": "UniSpeechSat", "head": "ForXVector", **TDNN},
}


@pytest.mark.parametrize("name", QUICK)
def test_export(shared_checkpoint: Callable[..., Path], bundle_of: Callable[[Path], Bundle], name: str) -> None:
    bundle = bundle_of(shared_checkpoint(**QUICK[name]))
    assert all(point["passed"] for point in bundle.provenance["parity"]["points"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_export_of_odd_shapes(
    shared_checkpoint: Callable[..., Path], bundle_of: Callable[[Path], Bundle], name: str
) -> None:
    bundle = bundle_of(shared_checkpoint(**SLOW[name]))
    assert all(point["passed"] for point in bundle.provenance["parity"]["points"])


def test_adapter_counts_in_the_time_arithmetic(make_checkpoint: Callable[..., Path]) -> None:
    """Three strided adapter layers give 7 frames for a second where the convolutions alone say 49."""
    from wav2edge.export.pipeline import model_spec

    checkpoint = Checkpoint.open(make_checkpoint(**LAYER, add_adapter=True, num_adapter_layers=3))
    spec = model_spec(checkpoint, checkpoint.load())
    assert spec.frames(16000) == 7 and spec.stride == 2560


def test_xvector_needs_frames_for_its_statistics(make_checkpoint: Callable[..., Path]) -> None:
    """A standard deviation needs two frames after time-delay layers with a context of 15: 16 frames, 5 200 samples."""
    from wav2edge.export.pipeline import model_spec

    checkpoint = Checkpoint.open(make_checkpoint(**LAYER, head="ForXVector", **TDNN))
    assert model_spec(checkpoint, checkpoint.load()).min_samples == 400 + 15 * 320
