"""Train a speaker embedding (x-vector) on the named speakers of a manifest.

    python -m recipes.embedded.heads.speaker SPEAKER --manifest MANIFEST --checkpoint CHECKPOINT [--test]

Speakers of split train are classified with an additive-margin softmax, on hidden states of the encoder that are
computed once (`states`); a voice at another speed, and so pitch, is another speaker (Yamamoto et al., "Speaker
augmentation and bandwidth extension for deep speaker embedding", 2019).
Choices are made on dev speakers, held out of train. `--test` reads the test split once and notes it in
`readings.jsonl`: the equal error rate (EER) on pairs of clips by speakers whom neither encoder nor head trained on:
over all pairs, over pairs of one corpus, which the recording channel cannot tell apart, and over pairs across genders.
`--speakers` (JSON Lines: `speaker`, `gender`) gives the genders.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, Wav2Vec2ForXVector

from ..speech.manifest import Utterance, load, read_manifest
from .results import note_reading, save
from .splits import genders_of, rows_for
from .states import SPEEDS, States, remember
from .windows import Samples, Trainer, padded, start_model

CLIPS = 12
"""Most clips of a speaker that trials are made of."""

DRAWS = 200
"""Bootstrap draws of speakers for the interval of the EER."""

MOST = 16
"""Most clips of a speaker that are trained on."""

SHORTEST = 1.5
"""Seconds of the shortest clip that trials are made of."""

MARGIN = 0.2
"""Margin of the softmax, in cosine."""


def by_speaker(rows: Sequence[Utterance], most: int | None = None) -> dict[str, list[Utterance]]:
    """Return the utterances of each named speaker, at most `most` each, chosen evenly."""
    found: dict[str, list[Utterance]] = {}
    for row in rows:
        if row.speaker is not None:
            found.setdefault(str(row.speaker), []).append(row)
    return {name: own[:: -(-len(own) // most) if most else 1] for name, own in sorted(found.items())}


def speaker_splits(rows: Sequence[Utterance]) -> tuple[dict[str, list[Utterance]], list[Utterance], list[Utterance]]:
    """Return the training utterances by speaker, and those of dev and of test, by speakers of no split before."""
    known = by_speaker(rows_for(rows, "train"), MOST)
    seen = set(known)
    later = []
    for split in ("dev", "test"):
        unseen = [row for row in rows_for(rows, split) if row.speaker is not None and str(row.speaker) not in seen]
        later.append(unseen)
        seen |= {str(row.speaker) for row in unseen}
    return known, later[0], later[1]


def margin_loss(embeddings: Tensor, weights: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return the additive-margin softmax loss (Wang et al., 2018) of embeddings [batch, size]; weights [size, labels].

    Scale 30, as in transformers' own; `margin` is taken from the cosine of the right label.
    """
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(weights, dim=0)
    right = torch.nn.functional.one_hot(labels, weights.shape[1])
    return torch.nn.functional.cross_entropy(30.0 * (cosines - margin * right), labels)


def train(model: PreTrainedModel, known: States, steps: int, rate: float, seed: int, batch: int = 64) -> None:
    """Train the head on stretches of remembered states of 2 to 3.4 s; the encoder stays as it is.

    Speakers with many clips are drawn more often, by the square root of their number. The margin rises from 0 to
    `MARGIN` over the first half. The classifier is left out (it becomes the identity): cosines of the embeddings
    themselves are trained.
    """
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.eye(len(model.classifier.weight)))
        model.classifier.bias.zero_()
        model.layer_weights.zero_()
        model.layer_weights[known.layers :] = -30.0
    model.wav2vec2.requires_grad_(False)
    model.classifier.requires_grad_(False)
    trainer = Trainer(model, steps, rate, rate, 0.99)
    losses, began = [], time.monotonic()
    with known.at_their_rate(model):
        for step in range(steps):
            states, labels = known.draw(batch, int(generator.integers(50, 86)), generator)
            shares = torch.softmax(model.layer_weights[: known.layers], 0)
            hidden = model.projector((states * shares[:, None]).sum(2))
            for layer in model.tdnn:
                hidden = layer(hidden)
            found = model.feature_extractor(torch.cat((hidden.mean(1), hidden.std(1)), 1))
            margin = MARGIN * min(1.0, 2 * step / steps)
            losses.append(trainer.take(margin_loss(found, model.objective.weight, labels, margin)))
            if (step + 1) % 50 == 0:
                shown = {"step": step + 1, "loss": round(float(np.mean(losses[-50:])), 4)}
                print(json.dumps({**shown, "seconds": round(time.monotonic() - began)}), flush=True)
    trainer.finish()


@torch.inference_mode()
def embeddings(model: PreTrainedModel, clips: Sequence[Samples]) -> NDArray[np.float32]:
    """Return the embedding of each clip at unit length [clips, size]."""
    model.eval()
    rows = []
    for clip in clips:
        audio, mask = padded([clip])
        rows.append(model(audio, attention_mask=mask).embeddings.numpy())
    found = np.concatenate(rows)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def equal_error_rate(same: NDArray[np.generic], different: NDArray[np.generic]) -> float:
    """Return the EER, a fraction, of scores of pairs of one speaker and of pairs of two."""
    if not len(same) or not len(different):
        return float("nan")
    thresholds = np.sort(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), thresholds, "left") / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds, "left") / len(different)
    at = int(np.abs(missed - accepted).argmin())
    return float(missed[at] + accepted[at]) / 2


def trial_rates(
    found: NDArray[np.generic],
    speakers: NDArray[np.generic],
    corpora: NDArray[np.generic],
    genders: NDArray[np.generic],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return EER, 95 % interval over speakers and pairs of: all trials, those of one corpus, those across genders.

    `found` are unit embeddings [clips, size]; the others name each clip's speaker, corpus and gender ("" unknown).
    """
    left, right = np.triu_indices(len(found), 1)
    scores = (found[left] * found[right]).sum(1)
    same = speakers[left] == speakers[right]
    known = (genders[left] != "") & (genders[right] != "")
    kinds = {
        "all": np.ones(len(scores), bool),
        "same_corpus": corpora[left] == corpora[right],
        "cross_gender": same | (known & (genders[left] != genders[right])),
    }
    names, number = np.unique(speakers, return_inverse=True)
    generator = np.random.default_rng(seed)
    rates: dict[str, dict[str, float]] = {}
    for kind, chosen in kinds.items():
        one, two = chosen & same, chosen & ~same
        spread = []
        for _ in range(DRAWS):
            counts = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
            times = np.where(same, counts[number[left]], counts[number[left]] * counts[number[right]])
            spread.append(equal_error_rate(*(np.repeat(scores[pairs], times[pairs]) for pairs in (one, two))))
        low, high = np.nanpercentile(spread, [2.5, 97.5])
        rates[kind] = {
            "eer": equal_error_rate(scores[one], scores[two]),
            "low": float(low),
            "high": float(high),
            "same_pairs": int(one.sum()),
            "different_pairs": int(two.sum()),
        }
    return rates


def threshold_at(found: NDArray[np.float32], speakers: NDArray[np.str_]) -> float:
    """Return the cosine that the fewest pairs of clips, of one speaker and of two, are on the wrong side of (EER)."""
    left, right = np.triu_indices(len(found), 1)
    scores = (found[left] * found[right]).sum(1)
    same = speakers[left] == speakers[right]
    candidates = np.sort(scores)
    missed = np.searchsorted(np.sort(scores[same]), candidates) / max(1, same.sum())
    accepted = 1 - np.searchsorted(np.sort(scores[~same]), candidates) / max(1, (~same).sum())
    return round(float(candidates[np.abs(missed - accepted).argmin()]), 3)


def measure(
    model: PreTrainedModel, rows: Sequence[Utterance], genders: dict[str, str]
) -> tuple[dict[str, dict[str, float]], float]:
    """Return the rates of trials of some utterances, and the threshold at their EER."""
    long = [row for row in rows if row.seconds >= SHORTEST]
    chosen = [row for own in by_speaker(long, CLIPS).values() for row in own]
    found = embeddings(model, [load(row.path) for row in chosen])
    speakers = np.array([str(row.speaker) for row in chosen])
    rates = trial_rates(
        found,
        speakers,
        np.array([row.corpus.replace("-clean-100", "").replace("-clean-5", "") for row in chosen]),
        np.array([genders.get(str(row.speaker), "") for row in chosen]),
    )
    return rates, threshold_at(found, speakers)


def main() -> None:
    """Train, measure, and write a Hugging Face folder with `results.json` in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--speakers", type=Path, help="JSON Lines of speaker and gender")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test", action="store_true", help="read the test split, and note that it was read")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read_manifest(options.manifest)
    known, dev, test = speaker_splits(rows)
    sizes = {"tdnn_dim": [160, 160, 160, 320], "tdnn_kernel": [5, 3, 3, 1], "tdnn_dilation": [2, 4, 6, 2]}
    # Dilations are in frames of 20 ms; training sees every second one.
    changes: dict[str, object] = {**sizes, "xvector_output_dim": 128, "num_labels": len(known) * len(SPEEDS)}
    changes["use_weighted_layer_sum"] = True
    model = start_model(Wav2Vec2ForXVector, options.checkpoint, changes)
    speech = [[row.path for row in own] for own in known.values()]
    options.out.mkdir(parents=True, exist_ok=True)
    with remember(model, speech, options.out / "states.f16", options.seed) as states:
        train(model, states, options.steps, options.rate, options.seed)
    model.half().save_pretrained(options.out)
    model = model.float()  # as it is kept
    genders = genders_of(rows, options.speakers)
    results: dict[str, object] = {"speakers": len(known)}
    results["dev"], results["threshold"] = measure(model, dev, genders)
    if options.test:
        results["test"], _ = measure(model, test, genders)
        note_reading(options.out, "speaker", len(test))
    save(model, options.out, options.checkpoint, results)


if __name__ == "__main__":
    main()
