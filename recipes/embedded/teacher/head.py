"""A small CTC head on the teacher's cached features: its posteriors say at which frame each letter is spoken.

python -m recipes.embedded.teacher.head head.pt --stores STORE… --dev STORE
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..error_rates import Transcribed, error_rates
from ..frames import RATE
from ..labels import LABELS, decode_greedy
from ..speech.augment import Augmentation, mask_frames
from ..speech.batches import Batch, Chain, Collator, draw, length_batches, standardize
from ..speech.clips import store_folder
from ..speech.dataset import Dataset
from ..speech.targets import FEATURES, FREE_POSTERIORS, POSTERIORS, WIDTHS, frame_starts, rows_written

_LOGGER = logging.getLogger("head")


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
        """Return label scores [batch, frames, labels] of standardised features."""
        hidden = F.dropout(self.enter(F.dropout(features, 0.1, self.training)), 0.1, self.training)
        for norm, convolution in zip(self.norms, self.convolutions):
            change = F.gelu(convolution(norm(hidden).transpose(1, 2))).transpose(1, 2)
            hidden = hidden + F.dropout(change, 0.1, self.training)
        return self.leave(hidden)

    @property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation [512] of the features that the head was trained on."""
        return self.mean.cpu().numpy(), self.deviation.cpu().numpy()


class FeatureCollator(Collator):
    """Batches without audio: features and transcripts only, each clip alone."""

    def __init__(
        self, dataset: Dataset, augmentation: Augmentation, seed: int, scale: tuple[np.ndarray, np.ndarray]
    ) -> None:
        """Collate cached features of `dataset`, standardised by `scale`."""
        self.dataset, self.augmentation, self.scale, self.noises = dataset, augmentation, scale, None
        self.generator = np.random.default_rng(seed)

    def __call__(self, chains: list[Chain]) -> Batch:
        """Return the batch of some clips."""
        clips = [clip for (clip,) in chains]
        width = max(clip.frames for clip in clips)
        features = np.zeros((len(clips), width, WIDTHS[FEATURES]), np.float32)
        for row, clip in zip(features, clips):
            raw = np.asarray(self.dataset.feature_rows(clip), np.float32)
            row[: clip.frames] = standardize(raw, self.scale)  # type: ignore[arg-type]
        labels = [torch.tensor(clip.labels, dtype=torch.long) for clip in clips]
        return Batch(
            torch.zeros(0),
            torch.tensor([clip.frames for clip in clips]),
            torch.from_numpy(mask_frames(len(clips), width, self.augmentation, self.generator)),
            nn.utils.rnn.pad_sequence(labels, batch_first=True),
            torch.tensor([len(label) for label in labels]),
            torch.from_numpy(features),
            None,
            sum(clip.samples for clip in clips) / RATE,
        )


@dataclass(frozen=True)
class HeadPlan:
    """How the head is trained: hours of audio (repeats counted), peak learning rate, time shares of corpora."""

    hours: float
    shares: dict[str, float]
    rate: float = 2e-3


def train_head(
    dataset: Dataset, dev: Dataset, out: Path, plan: HeadPlan, device: str, start: Path | None = None
) -> Head:
    """Train from random weights or from `start`, measure on dev, and keep the head in `out`."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    head = Head()
    if start is not None:
        head.load_state_dict(torch.load(start, map_location=device, weights_only=True))
    elif (scale := dataset.feature_scale(generator)) is not None:
        head.mean.copy_(torch.from_numpy(scale[0])), head.deviation.copy_(torch.from_numpy(scale[1]))
    collate = FeatureCollator(dataset, Augmentation(masked_share=0.08), 0, head.scale)
    head.to(device).train()
    optimizer = torch.optim.AdamW(head.parameters(), plan.rate, weight_decay=0.02, fused=True)
    hours, step, began = 0.0, 0, time.monotonic()
    while hours < plan.hours:
        for chains in draw(dataset, plan.shares, 60.0, 18.0, generator):
            batch = collate(chains)
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * min(1.0, (step + 1) / 100) * max(0.01, 1 - hours / plan.hours)
            loss = _loss(head, batch, device)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            hours, step = hours + batch.seconds / 3600, step + 1
            if step % 100 == 0:
                _LOGGER.info("%.2f h, %.0f s: %.3f", hours, time.monotonic() - began, float(loss.detach()))
    head.eval()
    rates = error_rates(decode_features(head, dev, device))
    _LOGGER.info(json.dumps(rates))
    out.with_suffix(".json").write_text(json.dumps({"hours": plan.hours, "dev": rates}, indent=1))
    torch.save(head.state_dict(), out.with_suffix(".tmp"))
    out.with_suffix(".tmp").replace(out)  # Last and whole: a head that is there is not trained again.
    return head


def _loss(head: Head, batch: Batch, device: str) -> Tensor:
    """Return the CTC loss a label of a batch of features."""
    assert batch.features is not None
    scores = head(batch.features.to(device) * batch.mask.to(device)).log_softmax(-1).transpose(0, 1)
    loss = F.ctc_loss(
        scores,
        batch.labels.to(device),
        batch.frames.to(device),
        batch.label_lengths.to(device),
        reduction="none",
        zero_infinity=True,
    )
    return loss[batch.label_lengths > 0].sum() / batch.label_lengths.sum().clamp_min(1)


@torch.inference_mode()
def decode_features(head: Head, dataset: Dataset, device: str) -> list[Transcribed]:
    """Decode every clip from its cached features, greedily."""
    collate = FeatureCollator(dataset, Augmentation(strength=0.0), 0, head.scale)
    transcribed = []
    for chains in length_batches([(clip,) for clip in dataset.clips()], 60.0):
        batch = collate(chains)
        assert batch.features is not None
        best = head(batch.features.to(device)).argmax(-1).cpu().numpy()
        for (clip,), ids in zip(chains, best):
            transcribed.append(Transcribed(clip.corpus, clip.text, decode_greedy(ids[: clip.frames])))
    return transcribed


@torch.inference_mode()
def extend_posteriors(head: Head, folder: Path, dataset: Dataset, number: int, device: str, redo: bool) -> None:
    """Write what is missing of `posteriors.f16` [frames, labels] for the frames whose features are cached."""
    path, cached = folder / POSTERIORS, dataset.features[number]
    assert cached is not None
    if redo:
        (folder / FREE_POSTERIORS).unlink(missing_ok=True)
    done = 0 if redo else rows_written(path)
    starts = frame_starts(dataset.stores[number])
    starts = starts[starts <= len(cached)]
    first = int(np.searchsorted(starts, done, "right") - 1)
    with open(path, "r+b" if done else "w+b") as file:
        file.seek(int(starts[first]) * 2 * WIDTHS[POSTERIORS])
        for begin, end in zip(starts[first:-1], starts[first + 1 :]):
            if end > begin:
                features = standardize(np.asarray(cached[begin:end], np.float32), head.scale)
                scores = head(torch.from_numpy(features)[None].to(device))[0].softmax(-1)
                file.write(scores.half().cpu().numpy().tobytes())


def main() -> None:
    """Train the head if it is not there, then write the posteriors of every store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="file of the head's weights, such as head.pt")
    parser.add_argument("--stores", type=store_folder, nargs="+", required=True)
    parser.add_argument("--dev", type=store_folder, required=True)
    parser.add_argument("--hours", type=float, default=20.0)
    parser.add_argument("--shares", default="{}", help="JSON: share of time of each corpus; others get 1")
    parser.add_argument("--init-from", type=Path, help="a head to go on from")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--redo", action="store_true", help="write all posteriors anew")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dataset = Dataset(options.stores)
    if options.out.exists():
        head = Head().to(device).eval()
        head.load_state_dict(torch.load(options.out, map_location=device, weights_only=True))
    else:
        train = Dataset([folder for folder in options.stores if folder != options.dev])
        shares = dict.fromkeys(train.groups, 1.0) | json.loads(options.shares)
        plan = HeadPlan(options.hours, shares, options.rate)
        head = train_head(train, Dataset([options.dev]), options.out, plan, device, options.init_from)
    for number, folder in enumerate(options.stores):
        extend_posteriors(head, folder, dataset, number, device, options.redo)


if __name__ == "__main__":
    main()
