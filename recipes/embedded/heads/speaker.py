"""Train a speaker embedding (x-vector) on the named speakers of a manifest.

    python -m recipes.embedded.heads.speaker SPEAKER --manifest MANIFEST --checkpoint CHECKPOINT

Speakers of split train are classified with an additive-margin softmax; the equal error rate (EER) is on pairs of clips
by speakers of split dev, whom training never had: over all pairs, and over pairs of one corpus, which the recording
channel cannot tell apart. `--speakers` (JSON Lines: `speaker`, `gender`) gives pairs across genders apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2ForXVector

from ..speech.manifest import Utterance, load, read_manifest, rows_of
from ..student.plan import Plan, rate_at
from .windows import Disturber, padded, start_model, stretch

CLIPS = 12
"""Most clips of a dev speaker that pairs are made of."""

DRAWS = 200
"""Bootstrap draws of speakers for the interval of the EER."""


def by_speaker(rows: Sequence[Utterance], split: str, most: int | None = None) -> dict[str, list[Utterance]]:
    """Return the utterances of each named speaker of a split, at most `most` each; speakers with one are left out."""
    found: dict[str, list[Utterance]] = {}
    for row in rows_of(list(rows), split):
        if row.speaker is not None:
            found.setdefault(str(row.speaker), []).append(row)
    return {name: own[:most] for name, own in sorted(found.items()) if len(own) > 1}


def train(
    model: Any, speech: Sequence[Sequence[np.ndarray]], steps: int, rate: float, seed: int, batch: int = 24
) -> None:
    """Train all but the convolutions on stretches of 2 to 4 s; `speech` has the clips of each speaker."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    disturb = Disturber([clip for clips in speech for clip in clips], generator)
    plan = Plan(rate=rate, warm_steps=max(1, steps // 10))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate, weight_decay=0.01)
    model.train()
    for step in range(steps):
        seconds = float(generator.uniform(2.0, 4.0))
        speakers = generator.integers(len(speech), size=batch)
        clips = [speech[i][int(generator.integers(len(speech[i])))] for i in speakers]
        audio, mask = padded([disturb(stretch(clip, seconds, generator)) for clip in clips])
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(plan, step, step / steps)
        loss = model(audio, attention_mask=mask, labels=torch.from_numpy(speakers)).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            print(json.dumps({"step": step + 1, "loss": round(float(loss.detach()), 4)}), flush=True)


@torch.inference_mode()
def embeddings(model: Any, clips: Sequence[np.ndarray]) -> np.ndarray:
    """Return the embedding of each clip at unit length [clips, size]."""
    model.eval()
    rows = [model(*padded([clip])[:1], attention_mask=padded([clip])[1]).embeddings.numpy() for clip in clips]
    found = np.concatenate(rows)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def equal_error_rate(same: np.ndarray, different: np.ndarray) -> float:
    """Return the EER, a fraction, of scores of pairs of one speaker and of pairs of two."""
    if not len(same) or not len(different):
        return float("nan")
    thresholds = np.sort(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), thresholds, "left") / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), thresholds, "left") / len(different)
    at = int(np.abs(missed - accepted).argmin())
    return float(missed[at] + accepted[at]) / 2


def trial_rates(
    found: np.ndarray, speakers: np.ndarray, corpora: np.ndarray, genders: np.ndarray, seed: int = 0
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


def main() -> None:
    """Train, measure, and write a Hugging Face folder with `speaker.json` in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--speakers", type=Path, help="JSON Lines of speaker and gender")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read_manifest(options.manifest)
    known = by_speaker(rows, "train")
    sizes = {"tdnn_dim": [192, 192, 192, 192, 384], "tdnn_kernel": [5, 3, 3, 1, 1], "tdnn_dilation": [1, 2, 3, 1, 1]}
    changes: dict[str, object] = {**sizes, "xvector_output_dim": 128, "num_labels": len(known)}
    changes["use_weighted_layer_sum"] = True
    model = start_model(Wav2Vec2ForXVector, options.checkpoint, changes)
    speech = [[load(row.path) for row in own] for own in known.values()]
    train(model, speech, options.steps, options.rate, options.seed)
    dev = [row for own in by_speaker(rows, "dev", CLIPS).values() for row in own]
    genders: dict[str, str] = {}
    if options.speakers:
        lines = map(json.loads, options.speakers.read_text("utf-8").splitlines())
        genders = {str(row["speaker"]): str(row["gender"]) for row in lines}
    result = trial_rates(
        embeddings(model, [load(row.path) for row in dev]),
        np.array([str(row.speaker) for row in dev]),
        np.array([row.corpus for row in dev]),
        np.array([genders.get(str(row.speaker), "") for row in dev]),
    )
    model.half().save_pretrained(options.out)  # type: ignore[operator]
    extractor = (options.checkpoint / "preprocessor_config.json").read_bytes()
    (options.out / "preprocessor_config.json").write_bytes(extractor)
    (options.out / "speaker.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
