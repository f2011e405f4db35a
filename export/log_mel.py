"""Log-mel features in the graph, as transformers' SeamlessM4TFeatureExtractor computes them for Wav2Vec2-BERT.

1. Frames of 400 samples every 160 (25 and 10 ms), each less its mean, pre-emphasised (x[t] - 0.97 x[t-1]), windowed,
   transformed, and summed into mel bands in power; then the logarithm, at least that of ``FLOOR``.
2. Each band is brought to zero mean and unit variance over a clip's frames. The logarithm is taken of the power as a
   multiple of the floor, so that a band at the floor is exactly zero: transformers' mean of a constant has a rounding
   error, which division by the square root of 1e-7 would make 3 000 times larger.
3. Two frames are one feature; an odd last frame counts in the statistics and is dropped, as transformers masks it.

Framing and pre-emphasis are one convolution with two weights for each output, and the transform is a product with
sines and cosines, both in FP32: together within 1e-3 of transformers' double precision after the normalisation.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runtime.bundle.spec import Convolution
from .lengths import output_lengths, valid_positions, zero_outside
from .preprocessing import Preprocessing
from .steps import LOG_MEL_STEPS

FRAME, BINS = 400, 257
PREEMPHASIS = 0.97
FULL_SCALE = 32768.0
"""Kaldi's features are of 16-bit integers."""
FLOOR = 1.192092955078125e-07
"""Kaldi's smallest power, the resolution of float32."""
VARIANCE_FLOOR = 1e-7


class LogMelExtractor(nn.Module):
    """The front end of log-mel models; no pass rounds the nodes inside ``log_mel`` (graphs.nodes)."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        """Use the filters of transformers' feature extractor."""
        super().__init__()
        self.log_mel = LogMel(preprocessing)
        self.channels = self.log_mel.channels

    def forward(self, normalized: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, samples] to features [batch, frames, channels] and their lengths [batch]."""
        result: tuple[Tensor, Tensor] = self.log_mel(normalized, lengths)
        return result


class LogMel(nn.Module):
    """Waveform to pairs of log-mel frames."""

    transform: Tensor
    filters: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        """Use the filters of transformers' feature extractor."""
        super().__init__()
        extractor = preprocessing.mel_extractor()
        self.bands = int(extractor.num_mel_bins)
        self.pair = int(extractor.stride)
        self.channels = self.bands * self.pair
        self.steps = LOG_MEL_STEPS
        self.conv = nn.Conv1d(1, FRAME, FRAME, stride=LOG_MEL_STEPS[0].stride, bias=False)
        transform, filters = _transform(np.asarray(extractor.window)), np.asarray(extractor.mel_filters)
        with torch.no_grad():
            self.conv.weight.copy_(torch.from_numpy(_preemphasis() * FULL_SCALE))
        self.register_buffer("transform", torch.from_numpy(transform.astype(np.float32)))
        self.register_buffer("filters", torch.from_numpy((filters / FLOOR).astype(np.float32)))

    def forward(self, normalized: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, samples] to features [batch, frames, channels] and their lengths [batch]."""
        frames, lengths = self.conv(normalized.unsqueeze(1)).transpose(1, 2), output_lengths(lengths, self.steps[0])
        parts = torch.matmul(frames, self.transform)
        squares = parts * parts
        power = squares[..., :BINS] + squares[..., BINS:]
        values = torch.log(torch.clamp(torch.matmul(power, self.filters), min=1.0))
        values = self._normalized(values, lengths)
        whole = values[:, : values.shape[1] // self.pair * self.pair]
        paired = whole.reshape(whole.shape[0], whole.shape[1] // self.pair, self.channels)
        return paired, output_lengths(lengths, Convolution(self.pair, self.pair, 0))

    def _normalized(self, values: Tensor, lengths: Tensor) -> Tensor:
        valid = valid_positions(values.shape[1], lengths).unsqueeze(2)
        count = lengths.to(torch.float32).unsqueeze(1).unsqueeze(2)
        mean = zero_outside(values, valid).sum(1, keepdim=True) / count
        centred = zero_outside(values - mean, valid)
        variance = (centred * centred).sum(1, keepdim=True) / (count - 1.0)
        return centred / torch.sqrt(variance + VARIANCE_FLOOR)


def _preemphasis() -> NDArray[np.float32]:
    """Weights [400, 1, 400]: subtract a frame's mean and pre-emphasise; the sample before the first is the first."""
    weights = np.eye(FRAME) - PREEMPHASIS * np.eye(FRAME, k=-1)
    weights[0, 0] = 1.0 - PREEMPHASIS
    return (weights @ (np.eye(FRAME) - 1.0 / FRAME)).astype(np.float32)[:, None, :]


def _transform(window: NDArray[np.float64]) -> NDArray[np.float64]:
    """The window and the discrete Fourier transform [400, 2 × 257]: cosines, then sines."""
    angles = 2 * np.pi * np.outer(np.arange(FRAME), np.arange(BINS)) / 512
    result: NDArray[np.float64] = window[:FRAME, None] * np.concatenate((np.cos(angles), np.sin(angles)), axis=1)
    return result
