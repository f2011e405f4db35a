"""Configurations that transformers allows and no published checkpoint is known for: padding never reaches a clip.

Each is a small random model with one or two settings of another kind: norms, activations, convolutions, adapters,
positions, buckets, squeezing, time-delay layers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.parity import LOG_MEL_SHORTEST
from wav2edge.export.pipeline import export
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import CheckpointError

TWO_TIME_DELAY_LAYERS: dict[str, object] = {
    "tdnn_dim": (16, 20),
    "tdnn_kernel": (3, 2),
    "tdnn_dilation": (1, 4),
    "xvector_output_dim": 8,
}
UNUSUAL: dict[str, dict[str, object]] = {
    "activations of every kind": {"feat_extract_activation": "relu", "hidden_act": "silu"},
    "gelu of its own kinds, weighted sum": {
        "head": "ForSequenceClassification",
        "feat_extract_activation": "gelu_new",
        "hidden_act": "gelu_new",
        "classifier_proj_size": 12,
        "use_weighted_layer_sum": True,
    },
    "group norm with a bias, norms first": {
        "feat_extract_norm": "group",
        "conv_bias": True,
        "do_stable_layer_norm": True,
    },
    "layer norm, norms last": {"do_stable_layer_norm": False, "conv_bias": False},
    "five convolutions": {
        "conv_dim": (16, 24, 16, 8, 20),
        "conv_kernel": (10, 5, 3, 3, 2),
        "conv_stride": (5, 4, 2, 2, 2),
        "num_feat_extract_layers": 5,
    },
    "nine convolutions": {
        "conv_dim": (16, 16, 16, 16, 16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 3, 3, 3, 2, 2, 1, 2),
        "conv_stride": (5, 2, 2, 2, 2, 2, 2, 1, 1),
        "num_feat_extract_layers": 9,
    },
    "adapter of stride 3 and another width": {
        "add_adapter": True,
        "adapter_stride": 3,
        "adapter_kernel_size": 5,
        "num_adapter_layers": 2,
        "output_hidden_size": 24,
    },
    "one layer, one head, coarse epsilon": {"num_hidden_layers": 1, "num_attention_heads": 1, "layer_norm_eps": 0.001},
    "odd positional kernel, two groups": {"num_conv_pos_embeddings": 15, "num_conv_pos_embedding_groups": 2},
    "attention adapters": {"adapter_attn_dim": 8},
    "hubert with keys of wav2vec2's adapter and of sew": {
        "classes": "Hubert",
        "add_adapter": True,
        "num_adapter_layers": 3,
        "adapter_kernel_size": 3,
        "adapter_stride": 2,
        "output_hidden_size": 32,
        "squeeze_factor": 2,
    },
    "wav2vec2-bert with keys of convolutions": {
        "classes": "Wav2Vec2Bert",
        "conv_depthwise_kernel_size": 5,
        "conv_kernel": (10, 3, 3),
        "conv_stride": (5, 2, 2),
    },
    "hubert with batch norm of positions": {"classes": "Hubert", "conv_pos_batch_norm": True},
    "hubert without the projection's norm": {
        "classes": "Hubert",
        "feat_proj_layer_norm": False,
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
    },
    "wavlm with few buckets": {"classes": "WavLM", "num_buckets": 12, "max_bucket_distance": 20, "hidden_act": "relu"},
    "wavlm, norms last, weighted frames": {
        "classes": "WavLM",
        "head": "ForAudioFrameClassification",
        "do_stable_layer_norm": False,
        "use_weighted_layer_sum": True,
    },
    "sew squeezing by 3": {
        "classes": "SEW",
        "squeeze_factor": 3,
        "conv_dim": (16, 16, 16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 1, 3, 1, 2, 2),
        "conv_stride": (5, 2, 1, 2, 2, 2, 2),
    },
    "sew squeezing by 4 with layer norm": {
        "classes": "SEW",
        "squeeze_factor": 4,
        "feat_extract_norm": "layer",
        "conv_dim": (16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2),
        "num_feat_extract_layers": 5,
    },
    "sew not squeezing": {
        "classes": "SEW",
        "squeeze_factor": 1,
        "conv_dim": (16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2),
    },
    "sew-d with other buckets": {
        "classes": "SEWD",
        "squeeze_factor": 3,
        "conv_dim": (16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2),
        "position_buckets": 8,
        "max_position_embeddings": 32,
        "pos_att_type": ("c2p",),
        "hidden_act": "gelu_python",
    },
    "sew-d without relative attention": {
        "classes": "SEWD",
        "squeeze_factor": 2,
        "conv_dim": (16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2),
        "relative_attention": False,
    },
    "sew-d, no norm of relative embeddings": {
        "classes": "SEWD",
        "squeeze_factor": 2,
        "conv_dim": (16, 16, 16, 16, 16),
        "conv_kernel": (10, 3, 3, 2, 2),
        "conv_stride": (5, 2, 2, 2, 2),
        "norm_rel_ebd": "none",
        "position_buckets": 8,
        "max_position_embeddings": 32,
    },
    "two time-delay layers": {
        "head": "ForXVector",
        **TWO_TIME_DELAY_LAYERS,
    },
    "x-vectors of one layer, weighted": {
        "classes": "UniSpeechSat",
        "head": "ForXVector",
        "use_weighted_layer_sum": True,
        "tdnn_dim": (16,),
        "tdnn_kernel": (2,),
        "tdnn_dilation": (3,),
        "xvector_output_dim": 8,
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
    },
    "conformer with other activations": {
        "classes": "Wav2Vec2Conformer",
        "conv_depthwise_kernel_size": 5,
        "position_embeddings_type": "relative",
        "hidden_act": "relu",
        "feat_extract_norm": "group",
        "max_source_positions": 100,
    },
    "conformer with an adapter": {
        "classes": "Wav2Vec2Conformer",
        "conv_depthwise_kernel_size": 31,
        "position_embeddings_type": "rotary",
        "rotary_embedding_base": 500,
        "add_adapter": True,
        "adapter_stride": 1,
        "num_adapter_layers": 1,
    },
    "wav2vec2-bert with short distances": {
        "classes": "Wav2Vec2Bert",
        "conv_depthwise_kernel_size": 5,
        "left_max_position_embeddings": 8,
        "right_max_position_embeddings": 3,
        "hidden_act": "gelu",
    },
    "wav2vec2-bert, adapter of stride 3": {
        "classes": "Wav2Vec2Bert",
        "conv_depthwise_kernel_size": 5,
        "add_adapter": True,
        "adapter_stride": 3,
        "adapter_kernel_size": 3,
        "num_adapter_layers": 2,
        "adapter_act": "gelu",
    },
    "wav2vec2-bert of weighted layers": {
        "classes": "Wav2Vec2Bert",
        "head": "ForSequenceClassification",
        "conv_depthwise_kernel_size": 5,
        "use_weighted_layer_sum": True,
    },
    "wav2vec2-bert without positions": {
        "classes": "Wav2Vec2Bert",
        "conv_depthwise_kernel_size": 5,
        "position_embeddings_type": None,
    },
    "data2vec with two positional layers": {
        "classes": "Data2VecAudio",
        "num_conv_pos_embeddings": 2,
        "conv_pos_kernel_size": 7,
        "conv_bias": True,
    },
    "data2vec with an adapter": {
        "classes": "Data2VecAudio",
        "num_conv_pos_embeddings": 2,
        "conv_pos_kernel_size": 8,
        "add_adapter": True,
        "num_adapter_layers": 1,
    },
    "data2vec of weighted layers": {
        "classes": "Data2VecAudio",
        "head": "ForXVector",
        "num_conv_pos_embeddings": 2,
        "conv_pos_kernel_size": 7,
        "use_weighted_layer_sum": True,
        **TWO_TIME_DELAY_LAYERS,
    },
    "unispeech of weighted layers": {
        "classes": "UniSpeech",
        "head": "ForSequenceClassification",
        "use_weighted_layer_sum": True,
    },
    "wavlm with an adapter": {
        "classes": "WavLM",
        "add_adapter": True,
        "num_adapter_layers": 1,
        "adapter_kernel_size": 4,
    },
    "x-vectors of summed layers, an adapter after them": {
        "head": "ForXVector",
        "use_weighted_layer_sum": True,
        "add_adapter": True,
        **TWO_TIME_DELAY_LAYERS,
    },
    "no adapter layers that stride": {"add_adapter": True, "num_adapter_layers": 1, "adapter_stride": 1},
}
"""What ``conftest.write_checkpoint`` takes."""
SLOW = ("nine convolutions", "sew squeezing by 3", "wavlm with few buckets", "two time-delay layers")
"""Those that are exported as well; the others are compared as torch modules, before they are traced."""


@pytest.mark.parametrize("name", UNUSUAL)
def test_padding_never_reaches_a_clip(
    name: str, shared_checkpoint: Callable[..., Path], compare_batch: Callable[..., None]
) -> None:
    compare_batch(shared_checkpoint(**UNUSUAL[name]), (0, 3000, 12345), LOG_MEL_SHORTEST)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_export(name: str, shared_checkpoint: Callable[..., Path], bundle_of: Callable[[Path], Bundle]) -> None:
    bundle = bundle_of(shared_checkpoint(**UNUSUAL[name]))
    assert all(point["passed"] for point in bundle.provenance["parity"]["points"])


@pytest.mark.parametrize("bands", [40, 0])
def test_features_of_another_size_than_the_model_takes(
    make_checkpoint: Callable[..., Path], tmp_path: Path, bands: int
) -> None:
    """It ended in torch's traceback."""
    folder = make_checkpoint(classes="Wav2Vec2Bert", conv_depthwise_kernel_size=7)
    (folder / "preprocessor_config.json").write_text(json.dumps({"num_mel_bins": bands, "sampling_rate": 16000}))
    with pytest.raises(
        CheckpointError, match=r"cannot run this model on a clip of \d+ samples .*is preprocessor_config"
    ):
        export(Checkpoint.open(folder), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
