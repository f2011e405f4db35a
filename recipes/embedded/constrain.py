"""Make the teacher's posteriors spell the transcript, wherever there is one.

The head reads speech that it was not trained on with errors of its own (a third of the words of synthetic speech), and
a student taught frame by frame learns those too. Here each frame's posteriors become the occupation probabilities of
the transcript's CTC states under them: the forward-backward variables of Graves et al., "Connectionist temporal
classification" (2006), eq. 14. What is said comes from the transcript, when and how surely from the teacher.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from batches import Clip, Speech
from evaluate import Reading, rates
from head import FREE
from model import LABELS, encode, greedy
from torch import Tensor

_LOGGER = logging.getLogger("constrain")


def occupation(scores: Tensor, frames: Tensor, labels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return occupation probabilities and the loss a label (nats).

    `scores` are log posteriors [batch, frames, labels]; `frames` and `lengths` [batch] count the valid ones;
    `labels` are [batch, longest]. A transcript that does not fit its frames has an infinite loss.
    """
    given = scores.detach().transpose(0, 1).contiguous().requires_grad_()
    loss = F.ctc_loss(given, labels, frames, lengths, 0, "none")
    finite = torch.where(torch.isfinite(loss), loss, torch.zeros_like(loss))
    (slope,) = torch.autograd.grad(finite.sum(), given)
    # The gradient is that by the scores before their softmax: posteriors less occupation.
    return (given.detach().exp() - slope).transpose(0, 1), loss.detach() / lengths


def fitting(posteriors: np.ndarray, text: str) -> tuple[str, float]:
    """Return the beginning of a transcript that posteriors [frames, labels] bear out best, and its CTC loss a label.

    A decoder that does not stop in time begins anew; words that are not said cost more than they gain.
    """
    words = text.split()
    heads = [" ".join(words[: i + 1]) for i in range(len(words))]
    ids = [encode(head) for head in heads]
    ids = [row for row in ids if len(row) + 2 <= len(posteriors)]
    if not ids:
        return "", float("inf")
    scores = torch.from_numpy(posteriors.astype(np.float32)).clamp_min(1e-5).log().expand(len(ids), -1, -1)
    labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
    lengths = torch.tensor([len(row) for row in ids])
    _, loss = occupation(scores, torch.full((len(ids),), scores.shape[1]), labels, lengths)
    best = int((loss * lengths).argmin())
    return heads[best], float(loss[best])


def batches(clips: list[Clip], seconds: float = 240.0) -> Iterator[list[Clip]]:
    """Yield clips of like length together."""
    held: list[Clip] = []
    for clip in sorted(clips, key=lambda c: c.frames):
        if held and (len(held) + 1) * clip.frames > seconds * 50:
            yield held
            held = []
        held.append(clip)
    if held:
        yield held


def constrain(folder: Path, worst: float = 3.0) -> dict[str, object]:
    """Rewrite `posteriors.f16` of a clip store; what the head said by itself stays in `posteriors-free.f16`.

    A transcript that costs more than `worst` nats a label is not what is said: its clip keeps the free posteriors.
    """
    path, free = folder / "posteriors.f16", folder / FREE
    with open(free, "ab") as kept:  # What the head has said since the last time comes behind the rest.
        kept.write(path.read_bytes()[kept.tell() :])
    table = np.fromfile(free, np.float16).reshape(-1, len(LABELS)).astype(np.float32)
    made = table.copy()
    speech = Speech([folder], True, longest=60.0)
    before, after, refused = [], [], 0
    for some in batches([c for group in speech.groups.values() for c in group if c.labels]):
        scores = torch.full((len(some), max(c.frames for c in some), len(LABELS)), -20.0)
        for i, clip in enumerate(some):
            rows = torch.from_numpy(table[clip.frame : clip.frame + clip.frames])
            scores[i, : clip.frames] = (rows.clamp_min(1e-5) / rows.clamp_min(1e-5).sum(-1, keepdim=True)).log()
        labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(c.labels) for c in some], batch_first=True)
        lengths = torch.tensor([len(c.labels) for c in some])
        found, cost = occupation(scores, torch.tensor([c.frames for c in some]), labels, lengths)
        for i, clip in enumerate(some):
            here = slice(clip.frame, clip.frame + clip.frames)
            before.append(Reading(clip.corpus, clip.text, greedy(table[here].argmax(-1))))
            if not cost[i] < worst:
                refused += 1
                continue
            made[here] = found[i, : clip.frames].numpy()
            after.append(Reading(clip.corpus, clip.text, greedy(made[here].argmax(-1))))
    whole = path.with_suffix(".tmp")
    made.astype(np.float16).tofile(whole)
    whole.replace(path)
    said = {corpus: row["wer"] for corpus, row in rates(before).items()}
    return {"free_wer": said, "wer": {c: r["wer"] for c, r in rates(after).items()}, "refused": refused}


def main() -> None:
    """Constrain the posteriors of some stores and print what their greedy readings were and are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", type=Path, nargs="+")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for store in options.stores:
        _LOGGER.info(json.dumps({"store": store.name, **constrain(store)}))


if __name__ == "__main__":
    main()
