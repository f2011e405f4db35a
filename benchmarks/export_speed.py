"""How long an export takes and how much memory: a random checkpoint of wav2vec2-base's shape, through the command.

    python benchmarks/export_speed.py [--norm group|layer]

Prints wall time, CPU time and peak resident memory of the whole process. Allowed: 90 s and 4 GB; exits 1 above.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _kit

from wav2edge.measure.tables import table

ALLOWED_SECONDS, ALLOWED_GB = 90, 4
LABELS = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz")


def write_checkpoint(directory: Path, norm: str) -> int:
    """Write a random base-shape checkpoint; returns its number of parameters."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    layer = norm == "layer"
    config = Wav2Vec2Config(
        vocab_size=len(LABELS), pad_token_id=0, feat_extract_norm=norm, do_stable_layer_norm=layer, conv_bias=layer
    )
    model = Wav2Vec2ForCTC(config)
    model.save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps({label: index for index, label in enumerate(LABELS)}))
    (directory / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> int:
    """Measure and print."""
    parser = _kit.parser(__doc__)
    parser.add_argument("--norm", choices=("group", "layer"), default="group")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, bundle = Path(folder) / "checkpoint", Path(folder) / "bundle"
        parameters = write_checkpoint(checkpoint, arguments.norm)
        started = time.monotonic()
        command = [sys.executable, "-m", "wav2edge", "export", str(checkpoint), str(bundle)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.monotonic() - started
        if done.returncode != 0:
            sys.exit(done.stderr)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = sum(path.stat().st_size for path in bundle.iterdir())
    row = (
        f"base, {arguments.norm} norm",
        f"{parameters / 1e6:.1f}",
        f"{wall:.0f}",
        f"{used.ru_utime + used.ru_stime:.0f}",
        f"{used.ru_maxrss / 1e6:.2f}",
        f"{size / 1e6:.0f}",
    )
    header = ("shape", "M parameters", "wall s", "CPU s", "peak GB", "bundle MB")
    with _kit.Output(arguments) as output:
        output.say(*done.stderr.splitlines(), "", *table(header, [row], indent="").splitlines())
    return int(wall > ALLOWED_SECONDS or used.ru_maxrss > 1e6 * ALLOWED_GB)


if __name__ == "__main__":
    sys.exit(main())
