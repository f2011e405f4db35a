"""The time arithmetic of a model from its configuration: which convolutions are between samples and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..runtime.bundle.spec import Convolution, Norm

if TYPE_CHECKING:
    from types import SimpleNamespace
    from typing import TypeAlias

    from transformers import PreTrainedConfig

    Config: TypeAlias = PreTrainedConfig | SimpleNamespace
    """A configuration of transformers, or config.json's values with the defaults of what it leaves out."""

LOG_MEL_STEPS = (Convolution(400, 160, 0), Convolution(2, 2, 0))
"""Frames of 25 ms every 10 ms at 16 kHz, two of which make one feature (transformers' SeamlessM4TFeatureExtractor)."""


_LOG_MEL = "wav2vec2-bert"
_SQUEEZED = ("sew", "sew-d")
_ADAPTED = ("wav2vec2", "wavlm", "data2vec-audio", "wav2vec2-conformer", "wav2vec2-bert")
"""Families by what transformers has for them; a config.json may hold keys of another family, which it leaves unused."""


def feature_steps(config: Config) -> tuple[Convolution, ...]:
    """The feature extractor's convolutions; Wav2Vec2-BERT has log-mel features instead."""
    if config.model_type == _LOG_MEL:
        return LOG_MEL_STEPS
    return tuple(Convolution(kernel, stride, 0) for kernel, stride in zip(config.conv_kernel, config.conv_stride))


def adapter_steps(config: Config) -> tuple[Convolution, ...]:
    """The adapter's convolutions; none where the model has no adapter."""
    if config.model_type not in _ADAPTED or not getattr(config, "add_adapter", False):
        return ()
    # transformers fixes the padding to 1, but for Wav2Vec2-BERT.
    padding = config.adapter_stride // 2 if config.model_type == _LOG_MEL else 1
    return (Convolution(config.adapter_kernel_size, config.adapter_stride, padding),) * int(config.num_adapter_layers)


def squeeze_steps(config: Config) -> tuple[Convolution, ...]:
    """Two steps for SEW's encoder, which returns as many frames as it takes, and needs at least one whole group.

    Together they change only the length of the shortest clip.
    """
    factor = int(getattr(config, "squeeze_factor", 2)) if config.model_type in _SQUEEZED else 1
    if factor == 1:
        return ()
    even = factor % 2 == 0
    return (Convolution(factor, 1, 0), Convolution(2 if even else 1, 1, factor // 2))


def speaker_steps(config: Config) -> tuple[Convolution, ...]:
    """The time-delay layers of an x-vector model, and the two frames that a standard deviation needs."""
    layers = zip(config.tdnn_kernel, config.tdnn_dilation)
    return (*(Convolution((kernel - 1) * dilation + 1, 1, 0) for kernel, dilation in layers), Convolution(2, 1, 0))


def front_end_norm(config: Config) -> Norm:
    """The front end's normalisation: ``group`` where its statistics are those of a whole clip."""
    if config.model_type == _LOG_MEL:
        return "group"
    # data2vec-audio has layer norms and no setting for them.
    return "group" if getattr(config, "feat_extract_norm", "layer") == "group" else "layer"
