"""A small CTC head on the teacher's cached features: its posteriors tell the small model where each letter lies."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import Augmentation, hide
from batches import Batch, Chain, Collator, Speech, draw, feature_scale, length_batches
from cache import frame_starts, frames
from evaluate import Reading, rates
from model import LABELS, greedy
from torch import Tensor, nn

_LOGGER = logging.getLogger("head")
FREE = "posteriors-free.f16"
"""What the head says by itself, where `constrain.py` has made `posteriors.f16` spell the transcript."""


class Head(nn.Module):
    """Three residual convolutions over features [batch, frames, 512] and a linear layer to label scores."""

    def __init__(self, width: int = 512, hidden: int = 256, kernel: int = 5) -> None:
        """Build random weights for features of `width` values."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.enter = nn.Linear(width, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.convolutions = nn.ModuleList(nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2) for _ in range(3))
        self.leave = nn.Linear(hidden, len(LABELS))

    def forward(self, features: Tensor) -> Tensor:
        """Return label scores of standardised features."""
        hidden = F.dropout(self.enter(F.dropout(features, 0.1, self.training)), 0.1, self.training)
        for norm, convolution in zip(self.norms, self.convolutions):
            change = F.gelu(convolution(norm(hidden).transpose(1, 2))).transpose(1, 2)
            hidden = hidden + F.dropout(change, 0.1, self.training)
        return self.leave(hidden)


class FeatureCollator(Collator):
    """Batches without audio: features and transcripts only."""

    def __call__(self, chains: list[Chain]) -> Batch:
        """Return the batch of some clips, each alone."""
        assert self.scale is not None
        clips = [clip for (clip,) in chains]
        width = max(c.frames for c in clips)
        features = np.zeros((len(clips), width, 512), np.float32)
        for i, clip in enumerate(clips):
            raw = np.asarray(self.speech.features[clip.store][clip.frame : clip.frame + clip.frames], np.float32)
            features[i, : clip.frames] = np.clip((raw - self.scale[0]) / self.scale[1], -5, 5)
        labels = [torch.tensor(c.labels, dtype=torch.long) for c in clips]
        return Batch(
            torch.zeros(0),
            torch.tensor([c.frames for c in clips]),
            torch.from_numpy(hide(len(clips), width, self.how, self.generator)),
            nn.utils.rnn.pad_sequence(labels, batch_first=True),
            torch.tensor([len(label) for label in labels]),
            torch.from_numpy(features),
            None,
            sum(c.samples for c in clips) / 16000,
        )


def train_head(
    speech: Speech,
    dev: Speech,
    out: Path,
    hours: float,
    shares: dict[str, float],
    device: str,
    start: Path | None = None,
    rate: float = 2e-3,
) -> Head:
    """Train for so many hours of audio, from random weights or from `start`, and keep the head; measures on dev."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    scale = feature_scale(speech, generator)
    head = Head()
    head.mean.copy_(torch.from_numpy(scale[0])), head.deviation.copy_(torch.from_numpy(scale[1]))
    if start is not None:
        head.load_state_dict(torch.load(start, map_location=device, weights_only=True))
        scale = head.mean.numpy(), head.deviation.numpy()
    head.to(device).train()
    collate = FeatureCollator(speech, Augmentation(hidden_share=0.08), 0, scale)
    collate.bank = None
    optimizer = torch.optim.AdamW(head.parameters(), rate, weight_decay=0.02, fused=True)
    heard, step, began = 0.0, 0, time.monotonic()
    while heard < hours:
        for clips in draw(speech, shares, 60.0, 18.0, generator):
            batch = collate(clips)
            assert batch.features is not None
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 100) * max(0.01, 1 - heard / hours)
            scores = head(batch.features.to(device) * batch.mask.to(device)).log_softmax(-1).transpose(0, 1)
            loss = F.ctc_loss(
                scores,
                batch.labels.to(device),
                batch.frames.to(device),
                batch.label_lengths.to(device),
                reduction="none",
                zero_infinity=True,
            )
            loss = loss[batch.label_lengths > 0].sum() / batch.label_lengths.sum().clamp_min(1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            heard, step = heard + batch.seconds / 3600, step + 1
            if step % 100 == 0:
                _LOGGER.info("%.2f h, %.0f s: %.3f", heard, time.monotonic() - began, float(loss))
    head.eval()
    result = rates(read_features(head, dev, device))
    _LOGGER.info(json.dumps(result))
    out.with_suffix(".json").write_text(json.dumps({"hours": hours, "dev": result}, indent=1))
    torch.save(head.state_dict(), out.with_suffix(".tmp"))
    out.with_suffix(".tmp").replace(out)  # Last and whole: a head that is there is not trained again.
    return head


@torch.inference_mode()
def read_features(head: Head, speech: Speech, device: str) -> list[Reading]:
    """Read every clip from its cached features."""
    collate = FeatureCollator(
        speech, Augmentation(strength=0.0), 0, (head.mean.cpu().numpy(), head.deviation.cpu().numpy())
    )
    readings = []
    for some in length_batches([(c,) for clips in speech.groups.values() for c in clips], 60.0):
        batch = collate(some)
        assert batch.features is not None
        best = head(batch.features.to(device)).argmax(-1).cpu().numpy()
        readings += [Reading(c.corpus, c.text, greedy(ids[: c.frames])) for (c,), ids in zip(some, best)]
    return readings


@torch.inference_mode()
def extend_posteriors(head: Head, folder: Path, speech: Speech, number: int, device: str, redo: bool) -> None:
    """Write what is missing of `posteriors.f16` [frames, labels] for the frames whose features are cached."""
    path, width, cached = folder / "posteriors.f16", len(LABELS), speech.features[number]
    if redo:
        (folder / FREE).unlink(missing_ok=True)
    done = 0 if redo or not path.exists() else path.stat().st_size // (2 * width)
    starts = frame_starts(speech.stores[number])
    starts = starts[starts <= len(cached)]
    first = int(np.searchsorted(starts, done, "right") - 1)
    mean, deviation = head.mean.cpu().numpy(), head.deviation.cpu().numpy()
    with open(path, "r+b" if done else "w+b") as file:
        file.seek(int(starts[first]) * 2 * width)
        for begin, end in zip(starts[first:-1], starts[first + 1 :]):
            raw = np.clip((np.asarray(cached[begin:end], np.float32) - mean) / deviation, -5, 5)
            if end > begin:
                scores = head(torch.from_numpy(raw)[None].to(device))[0].softmax(-1)
                file.write(scores.half().cpu().numpy().tobytes())


def main() -> None:
    """Train the head if it is not there, then write the posteriors of every store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="where the head's weights lie, such as head.pt")
    parser.add_argument("--stores", type=Path, nargs="+", required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=20.0)
    parser.add_argument("--shares", default="{}")
    parser.add_argument("--init-from", type=Path, help="a head to go on from")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--redo", action="store_true", help="write all posteriors anew")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    speech = Speech(options.stores)
    if options.out.exists():
        head = Head().to(device).eval()
        head.load_state_dict(torch.load(options.out, map_location=device, weights_only=True))
    else:
        taught = Speech([folder for folder in options.stores if folder != options.dev])
        shares = dict.fromkeys(taught.groups, 1.0) | json.loads(options.shares)
        again = (options.init_from, options.rate)
        head = train_head(taught, Speech([options.dev]), options.out, options.hours, shares, device, *again)
    for number, folder in enumerate(options.stores):
        extend_posteriors(head, folder, speech, number, device, options.redo)


assert frames(400) == 1
if __name__ == "__main__":
    main()
