"""The closing measurement of the recipe: what reads the eval split, and logs that it did."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from batches import Speech
from clips import ClipStore
from data import load, read_manifest, split_of
from evaluate import Reading, rates, transcribe
from model import Student, open_checkpoint

TRAIN_EVERY = 15
READINGS = Path(__file__).parent / "eval_readings.jsonl"


def read_split(student: Student, manifest: Path, split: str, device: str) -> list[Reading]:
    """Transcribe one split of a manifest: eval, test (held-out wake words), dev, or a sample of train."""
    with tempfile.TemporaryDirectory() as folder:
        store = ClipStore(Path(folder))
        rows = [row for row in read_manifest(manifest) if split_of(row) == split]
        for row in rows[:: TRAIN_EVERY if split == "train" else 1]:
            store.append(load(row.path), row.text, str(row.speaker), row.corpus)
        speech = Speech([Path(folder)], False, longest=60.0)
        return transcribe(student, speech, device)


def main() -> None:
    """Measure a checkpoint on eval and held-out wake words (and dev): write results.json and log the reading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--why", required=True, help="why eval is read now; kept in the log of readings")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json")
    parser.add_argument(
        "--readings", type=Path, default=READINGS, help="log of readings; every one has its line in one"
    )
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = open_checkpoint(options.checkpoint)
    student = Student(net).to(device).eval()
    weights = (options.checkpoint / "model.safetensors").read_bytes()
    results: dict[str, object] = {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
        "parameters": sum(p.numel() for p in net.parameters()),
    }
    for split in ("train", "dev", "test", "eval"):
        readings = read_split(student, options.manifest, split, device)
        results[split] = rates(readings, draws=2000)
        results[split + "_readings"] = [asdict(reading) for reading in readings]
    with open(options.readings, "a", encoding="utf-8") as file:
        when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes")
        row = {"when": when, "why": options.why, "sha256": results["sha256"], "eval": results["eval"]}
        file.write(json.dumps(row) + "\n")
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({k: results[k] for k in ("train", "dev", "test", "eval")}, indent=1))


if __name__ == "__main__":
    main()
