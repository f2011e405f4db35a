"""Train a keyword classifier: sequence classification over the wake phrases of a manifest, plus "other".

    python -m recipes.embedded.heads.keywords KEYWORDS --manifest MANIFEST --checkpoint CHECKPOINT

Clips of corpora with "wake" in their name are the phrases; stretches of all other corpora are "other". The threshold is
the lowest at which dev speech of the other corpora has at most one false alarm an hour, in windows of `WINDOW` seconds
every `HOP` seconds. Accuracy is then measured on the held-out wake words (split test), and false alarms an hour on the
utterances of dev speakers that the dev store leaves out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2ForSequenceClassification

from ..frames import RATE
from ..speech.manifest import Utterance, load, read_manifest, rows_of, split_of
from ..student.plan import Plan, rate_at
from .windows import Disturber, padded, sliding, start_model, stretch

OTHER = "other"
WINDOW, HOP = 2.0, 0.5
"""Seconds of a window on running speech, and from one to the next."""

FALSE_ALARMS = 1.0
"""Most false alarms an hour of dev speech at the chosen threshold."""


@dataclass(frozen=True)
class Examples:
    """Wake phrases with their label numbers, and speech without them; samples are float32 at 16 kHz."""

    phrases: list[np.ndarray]
    labels: list[int]
    others: list[np.ndarray]


def read_examples(chosen: Sequence[Utterance], phrases: Sequence[str]) -> Examples:
    """Load utterances as examples; `phrases` are the labels after "other"."""
    wake = [row for row in chosen if "wake" in row.corpus and row.text in phrases]
    others = [row for row in chosen if "wake" not in row.corpus]
    labels = [1 + list(phrases).index(row.text) for row in wake]
    return Examples([load(row.path) for row in wake], labels, [load(row.path) for row in others])


def train(model: Any, examples: Examples, steps: int, rate: float, seed: int, batch: int = 24) -> None:
    """Train all but the convolutions; half of every batch are phrases, half is other speech of like length."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    disturb = Disturber(examples.others, generator)
    plan = Plan(rate=rate, warm_steps=max(1, steps // 10))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate, weight_decay=0.01)
    model.train()
    for step in range(steps):
        clips, labels = [], []
        for i in range(batch):
            if i % 2:
                number = int(generator.integers(len(examples.phrases)))
                clips.append(stretch(examples.phrases[number], 3.0, generator))
                labels.append(examples.labels[number])
            else:
                other = examples.others[int(generator.integers(len(examples.others)))]
                clips.append(stretch(other, float(generator.uniform(0.8, 3.0)), generator))
                labels.append(0)
        audio, mask = padded([disturb(clip) for clip in clips])
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(plan, step, step / steps)
        loss = model(audio, attention_mask=mask, labels=torch.tensor(labels)).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            print(json.dumps({"step": step + 1, "loss": round(float(loss.detach()), 4)}), flush=True)


@torch.inference_mode()
def probabilities(model: Any, clips: Sequence[np.ndarray], batch: int = 32) -> np.ndarray:
    """Return the probability of each label for each clip [clips, labels]."""
    model.eval()
    rows = []
    for start in range(0, len(clips), batch):
        audio, mask = padded(clips[start : start + batch])
        rows.append(model(audio, attention_mask=mask).logits.softmax(-1).numpy())
    return np.concatenate(rows) if rows else np.zeros((0, model.config.num_labels))


def choose_threshold(alarms: np.ndarray, hours: float) -> float:
    """Return the lowest threshold with at most `FALSE_ALARMS` an hour; `alarms` [windows] is each one's best phrase."""
    allowed = int(FALSE_ALARMS * hours)
    highest = np.sort(alarms)[::-1]
    return float(highest[allowed]) if len(highest) > allowed else 0.5


def best_phrases(model: Any, clips: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the highest probability of a phrase in each window of some clips [windows], and their hours."""
    windows = [window for clip in clips for window in sliding(clip, WINDOW, HOP)]
    return probabilities(model, windows)[:, 1:].max(1, initial=0), sum(map(len, clips)) / RATE / 3600


def measure(model: Any, dev: Examples, test: Examples) -> dict[str, float]:
    """Return accuracy on phrases and false alarms an hour, at the threshold that dev chooses."""
    threshold = choose_threshold(*best_phrases(model, dev.others))
    alarms, hours = best_phrases(model, test.others)
    result = {"threshold": threshold, "false_alarms": float((alarms > threshold).sum()), "hours": hours}
    for name, examples in (("dev", dev), ("test", test)):
        found = probabilities(model, examples.phrases)
        labels = np.array(examples.labels)
        accepted = found[np.arange(len(labels)), labels] > threshold
        result[f"{name}_accuracy"] = float((found.argmax(1) == labels).mean())
        result[f"{name}_accepted"] = float(((found.argmax(1) == labels) & accepted).mean())
        result[f"{name}_clips"] = len(labels)
    return result


def main() -> None:
    """Train, measure, and write a Hugging Face folder with `keywords.json` in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read_manifest(options.manifest)
    phrases = sorted({row.text for row in rows_of(rows, "train") if "wake" in row.corpus})
    labels = dict(enumerate([OTHER, *phrases]))
    names = {"num_labels": len(labels), "id2label": labels, "label2id": {name: i for i, name in labels.items()}}
    changes: dict[str, object] = {**names, "classifier_proj_size": 96, "use_weighted_layer_sum": True}
    model = start_model(Wav2Vec2ForSequenceClassification, options.checkpoint, changes)
    train(model, read_examples(rows_of(rows, "train"), phrases), options.steps, options.rate, options.seed)
    dev = rows_of(rows, "dev")
    beyond = {row.key for row in rows if split_of(row) == "dev"} - {row.key for row in dev}
    test = [*rows_of(rows, "test"), *(row for row in rows if row.key in beyond and "wake" not in row.corpus)]
    result = measure(model, read_examples(dev, phrases), read_examples(test, phrases))
    model.half().save_pretrained(options.out)  # type: ignore[operator]
    extractor = (options.checkpoint / "preprocessor_config.json").read_bytes()
    (options.out / "preprocessor_config.json").write_bytes(extractor)
    (options.out / "keywords.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
