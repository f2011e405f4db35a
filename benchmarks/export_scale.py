"""Time and memory of exporting large checkpoints (random weights of the shapes of XLS-R 300M and 1B), and if they run.

    python benchmarks/export_scale.py [--shape 300m|1b …] [--dtype float32|float16] [--json FILE] [--folder DIR]

The checkpoint is written in shards of at most 1 GB, one tensor at a time. Each command runs in a separate process,
whose peak resident memory is as the system counts it. Allowed: 300 s and 8 GB for 300m, 20 GB for 1b; exits 1 above, or
where transcribing fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _kit

from wav2edge.measure.tables import table
from wav2edge.runtime import files
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded

LABELS = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz")
SHARD_BYTES = 1_000_000_000
SHAPES: dict[str, dict[str, int]] = {
    "300m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "1b": {"hidden_size": 1280, "num_hidden_layers": 48, "num_attention_heads": 16, "intermediate_size": 5120},
}
"""As published in the config.json of wav2vec2-xls-r-300m and -1b."""
ALLOWED: dict[str, tuple[float, float]] = {"300m": (300.0, 8.0), "1b": (float("inf"), 20.0)}
"""Seconds and GB."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of one command."""

    seconds: float
    """Wall time, s."""
    cpu_seconds: float
    """Processor time of all threads, s."""
    peak_gb: float
    """Peak resident memory, GB."""
    output: str
    """What it printed."""


@dataclass(frozen=True)
class Measurement:
    """One shape, from checkpoint to text."""

    shape: str
    dtype: str
    parameters: int
    export: Cost
    bundle_mb: float
    transcribe: Cost
    clip_seconds: float


def write_checkpoint(folder: Path, shape: str, dtype: str) -> int:
    """Write a random checkpoint shard by shard; returns its number of parameters."""
    import torch
    from safetensors.torch import save_file
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(
        hidden_size=SHAPES[shape]["hidden_size"],
        num_hidden_layers=SHAPES[shape]["num_hidden_layers"],
        num_attention_heads=SHAPES[shape]["num_attention_heads"],
        intermediate_size=SHAPES[shape]["intermediate_size"],
        vocab_size=len(LABELS),
        pad_token_id=0,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        architectures=["Wav2Vec2ForCTC"],
        dtype=dtype,
    )
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Wav2Vec2ForCTC(config).state_dict().items()}
    generator = torch.Generator().manual_seed(5)
    kind: torch.dtype = getattr(torch, dtype)
    shards: list[list[str]] = [[]]
    held = 0
    for name, size in shapes.items():
        length = torch.Size(size).numel() * kind.itemsize
        if held and held + length > SHARD_BYTES:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += length
    places: dict[str, str] = {}
    for index, names in enumerate(shards):
        file = f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file({name: _values(name, shapes[name], generator).to(kind) for name in names}, folder / file)
        places.update(dict.fromkeys(names, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    config.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({label: index for index, label in enumerate(LABELS)}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    return sum(torch.Size(size).numel() for size in shapes.values())


def _values(name: str, size: tuple[int, ...], generator: Any) -> Any:
    """Norms near 1 and the rest small, as in a trained model; the output layer wide enough for clear labels."""
    import torch

    values = torch.randn(size, generator=generator) * (0.3 if name.startswith("lm_head") else 0.03)
    return values + 1.0 if ("norm" in name and name.endswith("weight")) or name.endswith("original0") else values


def run(arguments: list[str]) -> Cost:
    """Run ``wav2edge`` in a process of its own; exits with its errors where it fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([sys.executable, "-m", "wav2edge", *arguments], stdout=printed, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        printed.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            sys.exit(f"wav2edge {arguments[0]} ended with {process.returncode}:\n{errors.read()[-3000:]}")
        text = printed.read()
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e9, text)


def measure(shape: str, dtype: str, folder: Path) -> Measurement:
    """Export one shape and transcribe a clip of real speech with it."""
    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    checkpoint.mkdir()
    parameters = write_checkpoint(checkpoint, shape, dtype)
    exported = run(["export", str(checkpoint), str(bundle)])
    size = sum(path.stat().st_size for path in bundle.iterdir())
    clip = sorted(embedded.clips_manifest().parent.glob("librispeech*"))[0]
    spoken = run(["transcribe", str(clip), "-m", str(bundle), "-f", "json"])
    found: dict[str, Any] = json.loads(spoken.output)
    if not found["text"].strip():
        sys.exit(f"{shape}: no text")
    return Measurement(
        shape, dtype, parameters, exported, size / 1e6, spoken, len(read.load(clip, _kit.RATE)) / _kit.RATE
    )


def main() -> int:
    """Measure and print."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--shape", choices=tuple(SHAPES), action="append", help="may be repeated (default: both)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the checkpoint")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure there")
    parser.add_argument("--folder", metavar="DIR", type=Path, help="where checkpoints and bundles go meanwhile")
    arguments = parser.parse_args()
    with _kit.Output(arguments) as output:
        found = []
        for shape in arguments.shape or SHAPES:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                found.append(measure(shape, arguments.dtype, Path(folder)))
        report(output, found)
    if arguments.json is not None:
        values = {"command": _kit.command(), "machine": _kit.machine(), "shapes": [asdict(one) for one in found]}
        files.write_whole(arguments.json, json.dumps(values, indent=1) + "\n")
    return int(any(over(one) for one in found))


def report(output: _kit.Output, found: list[Measurement]) -> None:
    """The table, a row for each shape."""
    rows = [
        (
            f"{one.shape}, {one.dtype}",
            f"{one.parameters / 1e6:.0f}",
            f"{one.export.seconds:.0f}",
            f"{one.export.cpu_seconds:.0f}",
            f"{one.export.peak_gb:.1f}",
            f"{one.bundle_mb:.0f}",
            f"{one.clip_seconds:.1f}",
            f"{one.transcribe.seconds:.1f}",
            f"{one.transcribe.peak_gb:.1f}",
            "above what is allowed" if over(one) else "ok",
        )
        for one in found
    ]
    header = ("shape", "M weights", "export s", "CPU s", "peak GB", "bundle MB", "clip s", "decode s", "peak GB", "")
    output.say(*table(header, rows, indent="").splitlines())


def over(one: Measurement) -> bool:
    """Whether an export took more than is allowed."""
    seconds, gb = ALLOWED[one.shape]
    return one.export.seconds > seconds or one.export.peak_gb > gb


if __name__ == "__main__":
    sys.exit(main())
