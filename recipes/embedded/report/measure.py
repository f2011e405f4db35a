"""The closing measurement. It and `report.agreement` alone use the eval split, and log each use.

python -m recipes.embedded.report.measure CHECKPOINT --manifest MANIFEST --why "the reason, for the log"
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import torch

from ..error_rates import Transcribed, error_rates
from ..speech.clips import ClipStore
from ..speech.dataset import Dataset
from ..speech.manifest import load, read_manifest, rows_of
from ..student.decode import transcribe
from ..student.model import Student, open_checkpoint
from .readings import log_reading

HERE = Path(__file__).resolve().parents[1]
TRAIN_EVERY = 30
"""Every so many clips of train are measured, to show how far below dev its error rates are."""


def transcribe_split(student: Student, manifest: Path, split: str, device: str) -> list[Transcribed]:
    """Transcribe one split of a manifest: eval, test (held-out wake words), dev, or a sample of train."""
    rows = rows_of(read_manifest(manifest), split)
    with tempfile.TemporaryDirectory() as folder:
        store = ClipStore(Path(folder))
        for row in rows[:: TRAIN_EVERY if split == "train" else 1]:
            store.append(load(row.path), row.text, str(row.speaker), row.corpus)
        found = transcribe(student, Dataset([Path(folder)], False, longest=60.0), device)
    if left_out := len(store) - len(found):
        print(f"{split}: {left_out} clips are longer than 60 s, or too short for their transcript: left out")
    return found


def main() -> None:
    """Measure a checkpoint on all splits: write results.json and log that eval was used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--why", required=True, help="why eval is used now; kept in the log")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--readings", type=Path, default=HERE / "eval_readings.jsonl", help="log of uses of eval")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = open_checkpoint(options.checkpoint)
    student = Student(net).to(device).eval()
    weights = (options.checkpoint / "model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    rates = {}
    results: dict[str, object] = {
        "sha256": digest,
        "bytes": len(weights),
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    for split in ("train", "dev", "test", "eval"):
        transcribed = transcribe_split(student, options.manifest, split, device)
        results[split] = rates[split] = error_rates(transcribed, intervals=True)
        results[split + "_transcripts"] = [row._asdict() for row in transcribed]
    log_reading(options.readings, options.why, digest, rates["eval"])
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
