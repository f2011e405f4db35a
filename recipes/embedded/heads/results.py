"""Write a trained head: a Hugging Face folder in float16, results, and a line for each reading of test."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

from transformers import PreTrainedModel


def save(model: PreTrainedModel, out: Path, checkpoint: Path, results: dict[str, object]) -> None:
    """Write the model as float16 with the checkpoint's feature extractor, and `results.json`; print the results."""
    model.half().save_pretrained(out)
    (out / "preprocessor_config.json").write_bytes((checkpoint / "preprocessor_config.json").read_bytes())
    encoder = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    weights = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    text = json.dumps({"sha256": weights, "encoder_sha256": encoder, **results}, indent=1)
    (out / "results.json").write_text(text + "\n", "utf-8")
    print(text, flush=True)


def note(out: Path, results: dict[str, object]) -> None:
    """Renew figures in `results.json`, of weights that stay as they are; print them."""
    path = out / "results.json"
    text = json.dumps({**json.loads(path.read_text("utf-8")), **results}, indent=1)
    path.write_text(text + "\n", "utf-8")
    print(text, flush=True)


def note_reading(out: Path, head: str, clips: int) -> None:
    """Add a line to `readings.jsonl`: the test split was read."""
    out.mkdir(parents=True, exist_ok=True)
    when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    with (out / "readings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"when": when, "head": head, "split": "test", "clips": clips}) + "\n")
