"""Train a keyword classifier: sequence classification over the wake phrases of a manifest, plus "other".

    python -m recipes.embedded.heads.keywords KEYWORDS --manifest MANIFEST --checkpoint CHECKPOINT [--measure] [--test]

Clips of corpora with "wake" in their name are the phrases; all other speech is "other". The threshold is chosen on
dev: the lowest with at most one false alarm an hour of speech by held-out speakers, as `wav2edge listen` counts them,
then the highest that finds as many phrases. `--measure` trains nothing and renews the figures in `results.json`.
`--test` reads the test split once and notes it in `readings.jsonl`: the accuracy on held-out clips of phrases, and
false alarms an hour on speech of LibriSpeech and speechocean762 that encoder and head never trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, Wav2Vec2Config, Wav2Vec2ForSequenceClassification

from ..frames import RATE
from ..speech.manifest import Utterance, load, read_manifest
from .results import note, note_reading, save
from .scenes import Scenes
from .splits import phrases_of, rows_for, without_phrases
from .windows import Clip, Disturber, Samples, Trainer, padded, sliding, start_model

OTHER = "other"
WINDOW, HOP = 2.0, 0.5
"""Seconds of a window on running speech, and from one to the next."""

FALSE_ALARMS = 1.0
"""Most false alarms an hour of dev speech at the chosen threshold."""

HYSTERESIS = 0.3
"""How far below the threshold a phrase must fall before it can be found again (`runtime.live.labels`)."""

ALARM_CORPORA = ("librispeech", "speechocean762")
"""What the corpora begin with whose speech without phrases the false alarms are counted on."""


@dataclass(frozen=True)
class Examples:
    """Wake phrases with their label numbers, and speech without them; clips of it may be files."""

    phrases: list[Samples]
    labels: list[int]
    others: Sequence[Clip]


def read_examples(chosen: Sequence[Utterance], phrases: Sequence[str]) -> Examples:
    """Load utterances as examples; `phrases` are the labels after "other". Other speech with one in it is left out."""
    wake = [row for row in chosen if "wake" in row.corpus and row.text in phrases]
    others = without_phrases(chosen, phrases)
    labels = [1 + list(phrases).index(row.text) for row in wake]
    return Examples([load(row.path) for row in wake], labels, [row.path for row in others])


def train(model: PreTrainedModel, examples: Examples, steps: int, rate: float, seed: int, batch: int = 24) -> None:
    """Train all but the convolutions on scenes of phrases and other speech; the encoder at a quarter of the rate."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    scenes = Scenes(examples.phrases, examples.labels, examples.others, generator)
    scenes.disturb = Disturber(examples.others, generator)
    trainer = Trainer(model, steps, rate, rate / 4, 0.99)
    losses, began = [], time.monotonic()
    for step in range(steps):
        clips, labels = scenes.draw(batch)
        losses.append(trainer.step(*padded(clips), torch.tensor(labels)))
        if (step + 1) % 25 == 0:
            shown = {"step": step + 1, "loss": round(float(np.mean(losses[-25:])), 4)}
            print(json.dumps({**shown, "seconds": round(time.monotonic() - began)}), flush=True)
    trainer.finish()


@torch.inference_mode()
def probabilities(model: PreTrainedModel, clips: Sequence[Samples], batch: int = 32) -> NDArray[np.float32]:
    """Return the probability of each label for each clip [clips, labels]."""
    model.eval()
    rows = []
    for start in range(0, len(clips), batch):
        audio, mask = padded(clips[start : start + batch])
        rows.append(model(audio, attention_mask=mask).logits.softmax(-1).numpy())
    return np.concatenate(rows) if rows else np.zeros((0, model.config.num_labels or 0), np.float32)


def count_events(windows: NDArray[np.float32], threshold: float) -> int:
    """Return how often a phrase is found in successive windows [windows, phrases], with hysteresis."""
    count = 0
    for column in windows.T:
        sent = False
        for value in column:
            if value >= threshold and not sent:
                count, sent = count + 1, True
            elif value < threshold:
                sent = sent and value >= threshold - HYSTERESIS
    return count


def choose_threshold(alarms: Sequence[NDArray[np.float32]], hours: float) -> float:
    """Return the lowest threshold from 0.5 with at most `FALSE_ALARMS` an hour.

    `alarms` has the probabilities [windows, phrases] of each recording.
    """
    for threshold in np.concatenate([np.arange(0.5, 0.99, 0.01), np.arange(0.99, 1.0, 0.001)]).round(3):
        if sum(count_events(windows, threshold) for windows in alarms) <= FALSE_ALARMS * hours:
            return float(threshold)
    return 1.0


def raised(threshold: float, best: NDArray[np.float32]) -> float:
    """Return the highest threshold up to 0.9995 at which no phrase is lost that `threshold` finds.

    `best` has the probability of each phrase in its best window. Where dev speech gives no alarm over a range of
    thresholds, the highest has the fewest false alarms on speech that dev does not have.
    """
    found = (best >= threshold).sum()
    higher = [value for value in (0.995, 0.997, 0.998, 0.999, 0.9995) if value > threshold]
    return max([threshold, *(value for value in higher if (best >= value).sum() == found)])


def of_windows(model: PreTrainedModel, clips: Sequence[Clip]) -> tuple[list[NDArray[np.float32]], float]:
    """Return the probabilities of phrases in each window of each clip [windows, phrases], and the clips' hours."""
    found: list[NDArray[np.float32]] = []
    waiting: list[Samples] = []
    counts, samples = [], 0
    for clip in clips:
        whole = load(clip) if isinstance(clip, Path) else clip
        windows = list(sliding(whole, WINDOW, HOP))
        counts.append(len(windows))
        samples += len(whole)
        waiting += windows
        if len(waiting) >= 256:
            found.append(probabilities(model, waiting)[:, 1:])
            waiting = []
    found.append(probabilities(model, waiting)[:, 1:])
    return np.split(np.concatenate(found), np.cumsum(counts)[:-1]), samples / RATE / 3600


def measure(model: PreTrainedModel, examples: Examples, threshold: float) -> dict[str, float]:
    """Return the accuracy on phrases, the share found at a threshold, and false alarms on other speech."""
    alarms, hours = of_windows(model, examples.others)
    events = sum(count_events(windows, threshold) for windows in alarms)
    labels = np.array(examples.labels)
    found = probabilities(model, examples.phrases)
    right = found.argmax(1) == labels
    spotted, _ = of_windows(model, examples.phrases)
    best = [windows[:, label - 1].max(initial=0) >= threshold for windows, label in zip(spotted, labels)]
    wrong = sum(
        count_events(np.delete(windows, label - 1, 1), threshold) > 0 for windows, label in zip(spotted, labels)
    )
    return {
        "clips": len(labels),
        "accuracy": float(right.mean()),
        "found_in_windows": float(np.mean(best)),
        "other_phrase_in_windows": float(wrong / len(labels)),
        "false_alarms": float(events),
        "hours": hours,
        "false_alarms_an_hour": events / hours if hours else 0.0,
    }


def trained(options: argparse.Namespace, rows: Sequence[Utterance], phrases: Sequence[str]) -> PreTrainedModel:
    """Return the checkpoint with a head of these phrases, trained on train."""
    labels = dict(enumerate([OTHER, *phrases]))
    names = {"num_labels": len(labels), "id2label": labels, "label2id": {name: i for i, name in labels.items()}}
    changes: dict[str, object] = {**names, "classifier_proj_size": 96, "use_weighted_layer_sum": True}
    model = start_model(Wav2Vec2ForSequenceClassification, options.checkpoint, changes, options.frozen)
    train(model, read_examples(rows_for(rows, "train"), phrases), options.steps, options.rate, options.seed)
    return model


def main() -> None:
    """Train, measure, and write a Hugging Face folder with `results.json` in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--frozen", type=int, default=4, help="layers of the encoder to leave as they are")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", action="store_true", help="train nothing, measure what OUT holds")
    parser.add_argument("--test", action="store_true", help="read the test split, and note that it was read")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read_manifest(options.manifest)
    phrases = phrases_of(rows)
    if options.measure:
        known = Wav2Vec2Config.from_pretrained(options.out).id2label
        phrases = [known[i] for i in range(1, len(known))]
    elif not phrases:
        sys.exit(f'error: {options.manifest}: no wake phrases to train on (corpora with "wake" in their name)')
    else:
        trained(options, rows, phrases).half().save_pretrained(options.out)
    # As it is kept, in half precision.
    model = Wav2Vec2ForSequenceClassification.from_pretrained(options.out, dtype=torch.float32)
    dev = read_examples(rows_for(rows, "dev"), phrases)
    threshold = choose_threshold(*of_windows(model, dev.others))
    spotted, _ = of_windows(model, dev.phrases)
    best = np.array([windows[:, label - 1].max(initial=0) for windows, label in zip(spotted, dev.labels)])
    threshold = raised(threshold, best)
    results: dict[str, object] = {"threshold": threshold, "window": WINDOW, "hop": HOP}
    results["dev"] = measure(model, dev, threshold)
    if options.test:
        test = [row for row in rows_for(rows, "test") if "wake" in row.corpus or row.corpus.startswith(ALARM_CORPORA)]
        results["test"] = measure(model, read_examples(test, phrases), threshold)
        note_reading(options.out, "keywords", len(test))
    if options.measure:
        note(options.out, results)
    else:
        save(model, options.out, options.checkpoint, results)


if __name__ == "__main__":
    main()
