"""The small Wav2Vec 2.0: its shape, its vocabulary, and writing it as a Hugging Face directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from ..frames import KERNELS, RATE, STRIDES
from ..labels import IDS, LABELS

GROUP_KERNELS, GROUP_STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
MEL, EARLY = 2, 4
"""Convolutions that learn log-mel and the output of the teacher's two convolutions."""

_LAYERS = "wav2vec2.encoder.layers."


def embedded_config(hidden: int = 160, layers: int = 4, inner: int = 640, heads: int = 4) -> Wav2Vec2Config:
    """Return the layer-norm shape of the embedded checkpoint: cheap convolutions at high rates, pre-norm layers."""
    return Wav2Vec2Config(
        **_common(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        conv_dim=(320, 256, 160, 256, 320, 320, 320),
        conv_kernel=KERNELS,
        conv_stride=STRIDES,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        num_conv_pos_embeddings=31,
        num_conv_pos_embedding_groups=4,
    )


def tiny_group_config() -> Wav2Vec2Config:
    """Return the shape of the group-norm sibling that tests use."""
    return Wav2Vec2Config(
        **_common(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(32,) * 7,
        conv_kernel=GROUP_KERNELS,
        conv_stride=GROUP_STRIDES,
        feat_extract_norm="group",
        do_stable_layer_norm=False,
        conv_bias=False,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )


def _common() -> dict[str, object]:
    return {
        "vocab_size": len(LABELS),
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "feat_extract_activation": "gelu",
        "hidden_act": "gelu",
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.0,
        "layerdrop": 0.0,
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
    }


class Student(nn.Module):
    """Wav2Vec2ForCTC in two parts, so that features can be masked and compared between them."""

    def __init__(self, net: Wav2Vec2ForCTC) -> None:
        """Wrap a model; the weights are shared with it."""
        super().__init__()
        self.net = net

    def convolutions(self, audio: Tensor) -> list[Tensor]:
        """Return the output of every convolution [batch, frames, channels] on normalised audio [batch, samples].

        The layer-norm front end with channels last in memory: the same numbers, faster on a CPU, because neither the
        norms nor GELU work on a transposed layout.
        """
        hidden, found = audio[..., None], []
        for layer in self.net.wav2vec2.feature_extractor.conv_layers:
            weight, (stride,) = layer.conv.weight, layer.conv.stride
            rows = hidden.unfold(1, weight.shape[2], stride).flatten(2)  # [batch, frames, channels x kernel]
            hidden = F.gelu(layer.layer_norm(F.linear(rows, weight.flatten(1), layer.conv.bias)))
            found.append(hidden)
        return found

    def convolve(self, audio: Tensor) -> Tensor:
        """Return convolution features [batch, frames, channels] of normalised audio [batch, samples]."""
        return self.convolutions(audio)[-1]

    def encode(self, features: Tensor, frames: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return hidden states [batch, frames, hidden] of the last layer and of the middle one.

        `mask` [batch, frames, 1] is 0 on frames to hide. The same numbers as the encoder's own forward makes.
        """
        core = self.net.wav2vec2
        hidden, _ = core.feature_projection(features)
        if mask is not None:
            hidden = hidden * mask
        valid = torch.arange(hidden.shape[1], device=hidden.device)[None] < frames[:, None]
        attended = None
        if not bool(valid.all()):
            hidden = hidden * valid[..., None]
            attended = valid[:, None, None, :]
        hidden = hidden + core.encoder.pos_conv_embed(hidden)
        middle = hidden
        for i, layer in enumerate(core.encoder.layers, 1):
            hidden = layer(hidden, attention_mask=attended)
            if i == len(core.encoder.layers) // 2:
                middle = hidden
        return core.encoder.layer_norm(hidden), core.encoder.layer_norm(middle)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return label scores [batch, frames, labels]."""
        return self.net.lm_head(hidden)


def new_model(config: Wav2Vec2Config) -> Wav2Vec2ForCTC:
    """Build random weights of a shape, with attention by torch's fused kernel."""
    config._attn_implementation = "sdpa"
    model = Wav2Vec2ForCTC(config)
    width = config.hidden_size
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.02)
        for layer in model.wav2vec2.encoder.layers:
            # Queries equal to keys, at a useful size: frames look at like frames (mostly neighbours) from the first
            # step, where small random ones would average the whole clip (Trockman and Kolter, "Mimetic
            # initialization of self-attention layers", 2023).
            layer.attention.q_proj.weight.normal_(0, 0.75 * width**-0.5)
            layer.attention.k_proj.weight.copy_(layer.attention.q_proj.weight)
            for linear in (layer.attention.v_proj, layer.attention.out_proj):
                linear.weight.normal_(0, 0.7 * width**-0.5)
            layer.feed_forward.intermediate_dense.weight.normal_(0, width**-0.5)
            layer.feed_forward.output_dense.weight.normal_(0, 0.5 * config.intermediate_size**-0.5)
    return model


def set_mel_bank(model: Wav2Vec2ForCTC, audio: Tensor, lowest: float = 60.0, highest: float = 7700.0) -> None:
    """Set the first convolution to a bank of band passes on the mel scale, each in four phases, at equal level.

    `audio` [batch, samples] is the normalised speech that the levels are taken over. Four rectified phases of a band
    add up to its amplitude, from which the next two convolutions can make log-mel (Zeghidour et al., "Learning
    filterbanks from raw speech for phone recognition", 2018, start the same way).
    """
    first, *others = model.wav2vec2.feature_extractor.conv_layers
    width = first.conv.kernel_size[0]
    bands = first.conv.out_channels // 4
    mels = np.linspace(*(1127 * np.log1p(np.array([lowest, highest]) / 700)), bands)
    centres = 700 * np.expm1(mels / 1127)
    times = (np.arange(width) - (width - 1) / 2) / RATE
    rows = []
    for centre, spacing in zip(centres, np.gradient(centres)):
        length = int(np.clip(1.6 * RATE / spacing, width // 5, width))
        window = np.zeros(width)
        window[(width - length) // 2 :][:length] = np.hanning(length)
        rows += [window * np.cos(2 * np.pi * centre * times + phase * np.pi / 2) for phase in range(4)]
    bank = torch.tensor(np.stack(rows), dtype=torch.float32, device=audio.device)
    with torch.no_grad():
        level = (audio.unfold(1, width, first.conv.stride[0]) @ bank.T).square().mean((0, 1)).sqrt()
        level = level.view(bands, 4).mean(1).repeat_interleave(4)
        first.conv.weight.copy_((bank / level[:, None])[:, None])
        first.conv.bias.normal_(0, 0.02)
        first.layer_norm.weight.fill_(8.0)  # So that GELU rectifies weak bands too.
        for layer in others:
            layer.conv.weight.normal_(0, layer.conv.weight[0].numel() ** -0.5)
            layer.conv.bias.zero_()


def open_checkpoint(folder: Path) -> Wav2Vec2ForCTC:
    """Open a Hugging Face directory with float32 weights."""
    config = Wav2Vec2Config.from_pretrained(folder)
    model = new_model(config)
    model.load_state_dict(load_weights(folder), strict=False)
    return model


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a Hugging Face directory by name, as float32."""
    return {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}


def adopt(model: Wav2Vec2ForCTC, folder: Path) -> list[str]:
    """Copy the weights that fit from another checkpoint folder and return the names that kept their own.

    A deeper or wider model starts with the other's output: the other's layers are spread evenly over its own, and
    those between begin as the identity (output projections at zero); inner units beyond the other's are random and
    nothing reads them yet (Chen et al., "Net2Net: accelerating learning via knowledge transfer", 2016).
    """
    ours, theirs = model.state_dict(), load_weights(folder)
    depth = len({name.split(".")[3] for name in theirs if name.startswith(_LAYERS)})
    layers = model.wav2vec2.encoder.layers
    places = [i * max(len(layers), depth) // depth for i in range(depth)]
    spread = {_moved(name, places): value for name, value in theirs.items()}
    widened = {k: _widened(k, v, ours[k]) for k, v in spread.items() if k in ours}
    fitting = {k: v for k, v in widened.items() if v.shape == ours[k].shape}
    model.load_state_dict(fitting, strict=False)
    adopted = any(name.startswith(_LAYERS) for name in fitting)
    for i, layer in enumerate(layers):
        if adopted and i not in places:
            for linear in (layer.attention.out_proj, layer.feed_forward.output_dense):
                nn.init.zeros_(linear.weight)
    return sorted(set(ours) - set(fitting))


def _widened(name: str, theirs: Tensor, ours: Tensor) -> Tensor:
    """Return the weights of a feed-forward network with the inner units that only ours has; any others as they are."""
    axes = {"intermediate_dense.weight": 0, "intermediate_dense.bias": 0, "output_dense.weight": 1}
    axis = next((a for end, a in axes.items() if name.startswith(_LAYERS) and name.endswith(end)), None)
    if axis is None or theirs.shape[axis] >= ours.shape[axis]:
        return theirs
    more = ours.narrow(axis, theirs.shape[axis], ours.shape[axis] - theirs.shape[axis])
    return torch.cat([theirs, more if axis == 0 else torch.zeros_like(more)], axis)


def _moved(name: str, places: list[int]) -> str:
    if not name.startswith(_LAYERS):
        return name
    parts = name.split(".")
    return ".".join([*parts[:3], str(places[int(parts[3])]), *parts[4:]])


def save_checkpoint(model: Wav2Vec2ForCTC, folder: Path) -> int:
    """Write a Hugging Face directory in float16 and return its number of parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(model.config.to_json_string(use_diff=False))
    keep = {**{k: v for k, v in config.items() if not k.startswith("_")}, "dtype": "float16"}
    keep["architectures"] = ["Wav2Vec2ForCTC"]
    _write(folder / "config.json", keep)
    _write(folder / "vocab.json", IDS)
    attention = model.config.feat_extract_norm == "layer"
    _write(
        folder / "preprocessor_config.json",
        {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": True,
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": attention,
            "sampling_rate": 16000,
        },
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    _write(folder / "special_tokens_map.json", special)
    tokenizer = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|", "do_lower_case": False}
    _write(folder / "tokenizer_config.json", {**special, **tokenizer, "replace_word_delimiter_char": " "})
    state = {name: value.detach().cpu().half().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.tmp", metadata={"format": "pt"})
    (folder / "model.tmp").chmod(0o644)
    (folder / "model.tmp").replace(folder / "model.safetensors")
    return sum(p.numel() for p in model.parameters())


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=False) + "\n", "utf-8")
