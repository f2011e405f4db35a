"""The teacher: Whisper's encoder (MIT), whose 50 Hz features are the dense targets of the small model."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import WhisperConfig
from transformers.audio_utils import mel_filter_bank
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..frames import HOP, RATE

ALIGN = 200
"""Samples to drop: the first target frame is centred on sample 200, Whisper's on its first sample."""

LEVEL = 0.06
"""Root mean square that clips are brought to before the teacher."""


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a CTranslate2 `model.bin` (float16 or float32; version 6 of the file format)."""
    data, position = path.read_bytes(), 0

    def take(code: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + code, data, position)
        position += struct.calcsize(code)
        return int(value)

    def text() -> str:
        nonlocal position
        length = take("H")
        position += length
        return data[position - length : position].rstrip(b"\0").decode()

    take("I"), text(), take("I")
    arrays = {}
    kinds = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind, size = kinds[take("B")], take("I")
        arrays[name] = np.frombuffer(data, kind, size // np.dtype(kind).itemsize, position).reshape(shape)
        position += size
    return arrays


def whisper_encoder(path: Path) -> WhisperEncoder:
    """Build transformers' WhisperEncoder with the weights of a CTranslate2 Whisper directory or `model.bin`."""
    arrays = read_ctranslate2(path / "model.bin" if path.is_dir() else path)
    width = arrays["encoder/conv1/weight"].shape[0]
    layers = sum(name.startswith("encoder/layer_") and name.endswith("linear_1/bias") for name in arrays) // 2
    hidden = arrays["encoder/layer_0/ffn/linear_0/bias"].shape[0]
    config = WhisperConfig(
        d_model=width, encoder_layers=layers, encoder_attention_heads=width // 64, encoder_ffn_dim=hidden
    )
    config._attn_implementation = "sdpa"
    state: dict[str, np.ndarray] = {"embed_positions.weight": arrays["encoder/position_encodings/encodings"]}

    def put(target: str, source: str, kinds: tuple[str, str] = ("weight", "bias")) -> None:
        for ours, theirs in zip(("weight", "bias"), kinds):
            state[f"{target}.{ours}"] = arrays[f"encoder/{source}/{theirs}"]

    norm = ("gamma", "beta")
    put("conv1", "conv1")
    put("conv2", "conv2")
    put("layer_norm", "layer_norm", norm)
    for i in range(layers):
        ours, theirs = f"layers.{i}", f"layer_{i}"
        put(f"{ours}.self_attn_layer_norm", f"{theirs}/self_attention/layer_norm", norm)
        put(f"{ours}.final_layer_norm", f"{theirs}/ffn/layer_norm", norm)
        put(f"{ours}.self_attn.out_proj", f"{theirs}/self_attention/linear_1")
        put(f"{ours}.fc1", f"{theirs}/ffn/linear_0")
        put(f"{ours}.fc2", f"{theirs}/ffn/linear_1")
        for kind in ("weight", "bias"):
            parts = np.split(arrays[f"encoder/{theirs}/self_attention/linear_0/{kind}"], 3)
            for name, part in zip("qkv", parts):
                if (name, kind) != ("k", "bias"):
                    state[f"{ours}.self_attn.{name}_proj.{kind}"] = part
    encoder = WhisperEncoder(config)
    encoder.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in state.items()})
    return encoder.eval().requires_grad_(False)


class Whisper:
    """Whisper's encoder over clips of any length up to 29 s, without padding to 30 s."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        """Open a CTranslate2 Whisper directory."""
        self.encoder = whisper_encoder(path).to(device)
        self.device = device
        filters = mel_filter_bank(201, 80, 0.0, 8000.0, RATE, norm="slaney", mel_scale="slaney")
        self.filters = torch.from_numpy(filters.astype(np.float32)).to(device)
        self.window = torch.hann_window(400, device=device)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Return Whisper's input [batch, 80, samples / 160] of audio [batch, samples] in [-1, 1]."""
        spectrum = torch.stft(audio, 400, 160, window=self.window, return_complex=True)[..., :-1].abs() ** 2
        mel = (self.filters.T @ spectrum).clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8.0)
        return (mel + 4.0) / 4.0

    @torch.no_grad()
    def convolutions(self, audio: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Return log-mel [batch, frames at 100 Hz, 80] and the two convolutions' output on it [batch, frames, 512].

        `audio` [batch, samples] has unit variance; the first frame of either is centred on sample `samples`.
        """
        mel = self.log_mel(audio[:, samples:] * LEVEL)
        hidden = torch.nn.functional.gelu(self.encoder.conv1(mel))
        return mel.transpose(1, 2), torch.nn.functional.gelu(self.encoder.conv2(hidden)).transpose(1, 2)

    @torch.no_grad()
    def features(self, clips: list[np.ndarray], frames: list[int]) -> list[np.ndarray]:
        """Return float16 features [frames, width] of each clip, on the frames of a Wav2Vec 2.0 over the same samples.

        Clips of one call are encoded together, padded with silence to the longest: give clips of like length.
        """
        wanted = (max(frames) + 12) * HOP
        signals = torch.zeros(len(clips), wanted)
        for row, audio in zip(signals, clips):
            level = float(np.sqrt((audio.astype(np.float64) ** 2).mean())) + 1e-6
            scaled = torch.from_numpy(audio[ALIGN : ALIGN + wanted] * np.float32(min(LEVEL / level, 100.0)))
            row[: len(scaled)] = scaled
        mel = self.log_mel(signals.to(self.device))
        encoder = self.encoder
        hidden = torch.nn.functional.gelu(encoder.conv1(mel))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        features = encoder.layer_norm(hidden).half().cpu().numpy()
        return [row[:count] for row, count in zip(features, frames)]
