"""Make the teacher's posteriors spell the transcript, wherever there is one.

python -m recipes.embedded.teacher.constrain STORE…

The head makes errors on speech that it was not trained on (a third of the words of synthetic speech), and a student
taught frame by frame learns those errors. Here each frame's posteriors become the occupation probabilities of the
transcript's CTC states under them: the forward-backward variables of Graves et al., "Connectionist temporal
classification" (2006), eq. 14. The transcript gives the letters, the teacher their timing and certainty.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..error_rates import Transcribed, error_rates
from ..labels import LABELS, decode_greedy, encode
from ..speech.clips import store_folder
from ..speech.dataset import Clip, Dataset
from ..speech.targets import FREE_POSTERIORS, POSTERIORS, write_rows

_LOGGER = logging.getLogger("constrain")


def occupation(scores: Tensor, frames: Tensor, labels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return occupation probabilities [batch, frames, labels] and the loss a label [batch] (nats).

    `scores` are log posteriors [batch, frames, labels]; `frames` and `lengths` [batch] count the valid ones;
    `labels` are [batch, longest]. A transcript that does not fit its frames has an infinite loss.
    """
    given = scores.detach().transpose(0, 1).contiguous().requires_grad_()
    loss = F.ctc_loss(given, labels, frames, lengths, 0, "none")
    finite = torch.where(torch.isfinite(loss), loss, torch.zeros_like(loss))
    (slope,) = torch.autograd.grad(finite.sum(), given)
    # The gradient is that by the scores before their softmax: posteriors less occupation.
    return (given.detach().exp() - slope).transpose(0, 1), loss.detach() / lengths


def best_beginning(posteriors: np.ndarray, text: str) -> tuple[str, float]:
    """Return the first words of a transcript that fit posteriors [frames, labels] best, and their CTC loss a label.

    A decoder that does not stop in time repeats itself; words that are not in the audio cost more than they gain.
    """
    words = text.split()
    beginnings = [" ".join(words[: i + 1]) for i in range(len(words))]
    ids = [encode(beginning) for beginning in beginnings]
    ids = [row for row in ids if len(row) + 2 <= len(posteriors)]
    if not ids:
        return "", float("inf")
    scores = torch.from_numpy(posteriors.astype(np.float32)).clamp_min(1e-5).log().expand(len(ids), -1, -1)
    labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
    lengths = torch.tensor([len(row) for row in ids])
    _, loss = occupation(scores, torch.full((len(ids),), scores.shape[1]), labels, lengths)
    best = int((loss * lengths).argmin())
    return beginnings[best], float(loss[best])


def frame_batches(clips: Sequence[Clip], seconds: float = 240.0) -> Iterator[list[Clip]]:
    """Yield clips of like length together, at most `seconds` with padding."""
    batch: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: clip.frames):
        if batch and (len(batch) + 1) * clip.frames > seconds * 50:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def constrain(folder: Path, worst: float = 3.0) -> dict[str, object]:
    """Rewrite `posteriors.f16` of a clip store; what the head said by itself stays in `posteriors-free.f16`.

    A transcript that costs more than `worst` nats a label is taken as wrong: its clip keeps the free posteriors.
    """
    path, free = folder / POSTERIORS, folder / FREE_POSTERIORS
    with open(free, "ab") as kept:  # Append what the head has written since the last time.
        kept.write(path.read_bytes()[kept.tell() :])
    table = np.fromfile(free, np.float16).reshape(-1, len(LABELS)).astype(np.float32)
    made = table.copy()
    before, after, refused = [], [], 0
    for clips in frame_batches([clip for clip in Dataset([folder], longest=60.0).clips() if clip.labels]):
        probabilities, costs = _clip_occupation(clips, table)
        for clip, probability, cost in zip(clips, probabilities, costs):
            here = slice(clip.frame, clip.frame + clip.frames)
            before.append(Transcribed(clip.corpus, clip.text, decode_greedy(table[here].argmax(-1))))
            if not cost < worst:
                refused += 1
                continue
            made[here] = probability[: clip.frames]
            after.append(Transcribed(clip.corpus, clip.text, decode_greedy(made[here].argmax(-1))))
    write_rows(path, made)
    free_wer, wer = ({c: row["wer"] for c, row in error_rates(rows).items()} for rows in (before, after))
    return {"free_wer": free_wer, "wer": wer, "refused": refused}


def _clip_occupation(clips: Sequence[Clip], table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return occupation probabilities [clips, frames, labels] and losses a label [clips] under rows of `table`."""
    scores = torch.full((len(clips), max(clip.frames for clip in clips), len(LABELS)), -20.0)
    for row, clip in zip(scores, clips):
        posteriors = torch.from_numpy(table[clip.frame : clip.frame + clip.frames]).clamp_min(1e-5)
        row[: clip.frames] = (posteriors / posteriors.sum(-1, keepdim=True)).log()
    labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(clip.labels) for clip in clips], batch_first=True)
    lengths = torch.tensor([len(clip.labels) for clip in clips])
    probabilities, costs = occupation(scores, torch.tensor([clip.frames for clip in clips]), labels, lengths)
    return probabilities.numpy(), costs.numpy()


def main() -> None:
    """Constrain the posteriors of some stores and print the WER of their greedy texts before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", type=store_folder, nargs="+")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for store in options.stores:
        _LOGGER.info(json.dumps({"store": store.name, **constrain(store)}))


if __name__ == "__main__":
    main()
