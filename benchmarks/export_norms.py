"""The time of the front end's norms: with and without mask, in several orders of operations.

    python benchmarks/export_norms.py [--seconds 10] [--rounds 10]

Base shape (512 channels), random weights, ONNX Runtime and OpenVINO on two threads; rounds are interleaved, the minimum
counts. ``selections and sums`` is the plain way to mask a group norm, ``products`` is that of export/modules.py, and
``no mask`` is transformers', wrong for padded batches. Only the time is measured, because the weights are random.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import _kit
import numpy as np
import torch
from torch import Tensor, nn

from wav2edge.export.lengths import valid_positions, zero_outside
from wav2edge.export.modules import LayerNormLayer, MaskedGroupNorm
from wav2edge.measure.tables import table

CHANNELS = 512


class SelectionsAndSums(nn.Module):
    """Two passes of Where and ReduceSum over the values."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        """Wrap a group norm."""
        super().__init__()
        self.norm = norm

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Run."""
        valid = valid_positions(values.shape[2], lengths).unsqueeze(1)
        count = lengths.to(torch.float32).reshape(-1, 1, 1)
        mean = zero_outside(values, valid).sum(2, keepdim=True) / count
        centred = zero_outside(values - mean, valid)
        variance = (centred * centred).sum(2, keepdim=True) / count
        scale = self.norm.weight.reshape(1, -1, 1) / torch.sqrt(variance + self.norm.eps)
        return centred * scale + self.norm.bias.reshape(1, -1, 1)


class NoMask(nn.Module):
    """Transformers' norm, without a mask."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        """Wrap a group norm."""
        super().__init__()
        self.norm = norm

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Run."""
        normed: Tensor = self.norm(values)
        return normed


class FirstConvolution(nn.Module):
    """Convolution, norm, GELU."""

    def __init__(self, norm: nn.Module) -> None:
        """Put a norm after the first convolution."""
        super().__init__()
        self.conv = nn.Conv1d(1, CHANNELS, 10, 5, bias=False)
        self.norm = norm

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Run."""
        return nn.functional.gelu(self.norm(self.conv(waveform.unsqueeze(1)), (lengths - 5) // 5))


class LayerNormConvolutions(nn.Module):
    """Three convolutions with layer norm: the activation after or before the channels go back."""

    def __init__(self, inside: bool) -> None:
        """Choose the order."""
        super().__init__()
        self.first = nn.Conv1d(1, CHANNELS, 10, 5)
        self.convolutions: list[LayerNormLayer] = []
        for _ in range(3):
            layer = nn.Module()
            layer.conv = nn.Conv1d(CHANNELS, CHANNELS, 3, 2)
            layer.layer_norm, layer.activation = nn.LayerNorm(CHANNELS), nn.GELU()
            self.convolutions.append(LayerNormLayer(layer))
        self.layers = nn.ModuleList(self.convolutions)
        self.inside = inside

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Run."""
        values: Tensor = self.first(waveform.unsqueeze(1))
        for layer in self.convolutions:
            if self.inside:
                values = layer(values)
            else:
                normed: Any = layer.layer_norm(layer.conv(values).transpose(1, 2))
                values = layer.activation(normed.transpose(1, 2))
        return values * lengths.to(torch.float32)


def main() -> None:
    """Measure and print."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    norm = nn.GroupNorm(CHANNELS, CHANNELS)
    cases: dict[str, nn.Module] = {
        "group norm, no mask": FirstConvolution(NoMask(norm)),
        "group norm, selections and sums": FirstConvolution(SelectionsAndSums(norm)),
        "group norm, products (ours)": FirstConvolution(MaskedGroupNorm(norm)),
        "layer norm, transformers' order": LayerNormConvolutions(inside=False),
        "layer norm, GELU inside (ours)": LayerNormConvolutions(inside=True),
    }
    samples = int(arguments.seconds * 16000)
    waveform, lengths = torch.randn(1, samples), torch.tensor([samples])
    with tempfile.TemporaryDirectory() as folder:
        runners = {
            name: _runners(case, waveform, lengths, Path(folder) / f"{i}.onnx")
            for i, (name, case) in enumerate(cases.items())
        }
        times: dict[tuple[str, int], float] = {}
        for _ in range(arguments.rounds):
            for name, pair in runners.items():
                for engine, run in enumerate(pair):
                    started = time.perf_counter()
                    run()
                    elapsed = 1000 * (time.perf_counter() - started)
                    times[name, engine] = min(times.get((name, engine), np.inf), elapsed)
    rows = [(name, f"{times[name, 0]:.0f}", f"{times[name, 1]:.0f}") for name in cases]
    with _kit.Output(arguments) as output:
        output.say(*table(("front end", "ONNX Runtime ms", "OpenVINO ms"), rows, indent="").splitlines())


def _runners(module: nn.Module, waveform: Tensor, lengths: Tensor, path: Path) -> list[Any]:
    import onnxruntime
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"waveform": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}}
        torch.onnx.export(
            module.eval(),
            (waveform, lengths),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["waveform", "lengths"],
            output_names=["features"],
            dynamic_axes=axes,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    hints = {"INFERENCE_NUM_THREADS": 2, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(path), "CPU", hints)
    known = {item.name for item in session.get_inputs()}
    feeds = {k: v for k, v in {"waveform": waveform.numpy(), "lengths": lengths.numpy()}.items() if k in known}
    return [lambda: session.run(None, feeds), lambda: compiled(feeds)]


if __name__ == "__main__":
    main()
