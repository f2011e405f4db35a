"""Train a speaker embedding (x-vector) on the named speakers of a manifest.

    python -m recipes.embedded.heads.speaker SPEAKER --manifest MANIFEST --checkpoint CHECKPOINT [--test]

The head is fitted in closed form to speakers of split train: the linear discriminants (LDA) of the mean and deviation
of the states before the first layer. A voice at another speed, and so pitch, is another speaker (Yamamoto et al.,
"Speaker augmentation and bandwidth extension for deep speaker embedding", 2019).
Choices are made on dev speakers, held out of train. `--test` reads the test split once and notes it in
`readings.jsonl`: the equal error rate (EER) on pairs of clips by speakers whom neither encoder nor head trained on:
over all pairs, over pairs of one corpus, which the recording channel cannot tell apart, and over pairs across genders.
`--speakers` (JSON Lines: `speaker`, `gender`) gives the genders.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, Wav2Vec2ForXVector

from ..speech.manifest import Utterance, load, read_manifest
from .results import note_reading, save
from .splits import genders_of, rows_for
from .states import statistics
from .windows import Clip, Samples, padded, start_model

CLIPS = 12
"""Most clips of a speaker that trials are made of."""

DRAWS = 200
"""Bootstrap draws of speakers for the interval of the EER."""

MOST = 8
"""Most clips of a speaker that are trained on."""

SHORTEST = 1.5
"""Seconds of the shortest clip that trials are made of."""

SHRINKAGE = 0.02
"""Chosen on dev; with 0.1 the EER there is 0.3 to 0.7 points higher."""

OFFSET = 8.0
"""Standard deviations by which the input of the time-delay layer is raised, so that it is positive."""


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


def discriminant(
    values: NDArray[np.float64], labels: NDArray[np.int64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the linear map [features, size] that parts classes best (LDA), and its offset [size].

    values [clips, features]. After it, values of one class have unit variance; `SHRINKAGE` of the mean variance within
    classes is added to it.
    """
    centre = values.mean(0)
    within = np.zeros((values.shape[1],) * 2)
    between = within.copy()
    for label in np.unique(labels):
        own = values[labels == label] - centre
        mean = own.mean(0)
        within += (own - mean).T @ (own - mean)
        between += len(own) * np.outer(mean, mean)
    within /= len(values)
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    inverse = np.linalg.inv(np.linalg.cholesky(within))
    vectors = np.linalg.eigh(inverse @ (between / len(values)) @ inverse.T)[1]
    found = inverse.T @ vectors[:, ::-1][:, :size]
    return found, -centre @ found


def train(model: PreTrainedModel, speech: Sequence[Sequence[Clip]], seed: int) -> None:
    """Fit the head; the encoder stays as it is. `speech` has the clips of each speaker.

    The sum of layers is the input of the first one: what the convolutions give, where voices differ most. The head
    takes its mean and standard deviation over a clip, and the map of them that parts speakers best (`discriminant`).
    The time-delay layer passes its input on; an offset keeps what its rectifier would cut.
    """
    means, deviations, labels = statistics(model, speech, seed)
    centre, scale = means.mean(0), np.sqrt(means.var(0) + (deviations**2).mean(0))
    values = np.concatenate([(means - centre) / scale + OFFSET, deviations / scale], 1)
    spread = values.std(0) + 1e-6
    found, offset = discriminant(values / spread, labels, model.config.xvector_output_dim)
    identity = np.eye(len(scale))
    layer = model.tdnn[0].kernel
    with torch.no_grad():
        model.layer_weights.copy_(torch.tensor([30.0, -30.0]))
        for linear, weight, bias in (
            (model.projector, identity / scale, OFFSET - centre / scale),
            (layer, identity, np.zeros(len(scale))),
            (model.feature_extractor, (found / spread[:, None]).T, offset),
            (model.classifier, np.eye(len(offset)), np.zeros(len(offset))),
        ):
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))


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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test", action="store_true", help="read the test split, and note that it was read")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read_manifest(options.manifest)
    known, dev, test = speaker_splits(rows)
    # One layer is the fewest that transformers takes; nothing of it is used.
    changes: dict[str, object] = {"num_hidden_layers": 1, "use_weighted_layer_sum": True, "xvector_output_dim": 128}
    changes |= {"tdnn_kernel": [1], "tdnn_dilation": [1]}
    changes["tdnn_dim"] = [json.loads((options.checkpoint / "config.json").read_text("utf-8"))["hidden_size"]]
    model = start_model(Wav2Vec2ForXVector, options.checkpoint, changes)
    train(model, [[row.path for row in own] for own in known.values()], options.seed)
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
