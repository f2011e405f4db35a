"""Masked contrastive pre-training on untranscribed audio, as in Wav2Vec 2.0, at this size.

The convolutions stay as they are, so its budget compares with `train.py --frozen 7 --no-targets`.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

from ..speech.augment import Augmentation
from ..speech.batches import Collator, draw
from ..speech.clips import store_folder
from ..speech.dataset import Dataset
from .model import Student, adopt, embedded_config, new_model, save_checkpoint

_LOGGER = logging.getLogger("pretrain")


class Frozen(nn.Module):
    """The convolutions of a model, kept as they are: channels first, as the model's own."""

    def __init__(self, student: Student) -> None:
        """Take the convolutions of `student`."""
        super().__init__()
        self.student = student.requires_grad_(False)

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Return features [batch, channels, frames] of audio [batch, samples]."""
        return self.student.convolve(audio).transpose(1, 2)

    def _freeze_parameters(self) -> None:
        """Nothing to freeze."""


def pretraining_config(shape: tuple[int, ...]) -> Wav2Vec2Config:
    """Return the embedded shape with the paper's masking, a smaller codebook and fewer negatives."""
    config = embedded_config(*shape)
    config.num_codevectors_per_group, config.num_codevector_groups = 160, 2
    config.codevector_dim = config.proj_codevector_dim = 128
    config.num_negatives = 50
    config.mask_time_prob, config.mask_time_length = 0.65, 10
    config._attn_implementation = "sdpa"
    return config


def pretrain(
    dataset: Dataset, folder: Path, minutes: float, front: Path, shape: tuple[int, ...], seed: int = 0
) -> None:
    """Train for so many minutes of processor time and write a checkpoint folder that `train.py --init-from` adopts."""
    torch.manual_seed(seed)
    config, rate = pretraining_config(shape), 1e-3
    start = new_model(embedded_config(*shape))
    adopt(start, front)
    model = Wav2Vec2ForPreTraining(config).train()
    model.wav2vec2.load_state_dict(start.wav2vec2.state_dict(), strict=False)
    model.wav2vec2.feature_extractor = Frozen(Student(copy.deepcopy(start)))
    optimizer = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.98), weight_decay=0.01, fused=True)
    collate, generator = Collator(dataset, Augmentation(strength=0.0), seed, None), np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    worked, hours, step = 0.0, 0.0, 0
    while worked < minutes * 60:
        for clips in draw(dataset, dict.fromkeys(dataset.groups, 1.0), 24.0, 16.0, generator):
            tick = time.process_time()
            batch = collate(clips)
            valid = torch.arange(int(batch.frames.max()))[None] < batch.frames[:, None]
            masked = _compute_mask_indices(tuple(valid.shape), 0.65, 10, valid.long(), min_masks=2) & valid.numpy()
            negatives = _sample_negative_indices(tuple(valid.shape), config.num_negatives, masked)
            model.set_gumbel_temperature(max(2.0 * 0.9995**step, 0.5))
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 100, max(0.02, 2 * (1 - worked / 60 / minutes)))
            output = model(
                batch.audio,
                mask_time_indices=torch.from_numpy(masked),
                sampled_negative_indices=torch.from_numpy(negatives),
            )
            optimizer.zero_grad(set_to_none=True)
            (output.loss / masked.sum()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            worked += time.process_time() - tick
            hours, step = hours + batch.seconds / 3600, step + 1
            if step % 25 == 0:
                row = {
                    "step": step,
                    "audio_hours": round(hours, 3),
                    "cpu_minutes": round(worked / 60, 2),
                    "contrastive": round(float(output.contrastive_loss.detach()) / int(masked.sum()), 4),
                    "perplexity": round(float(output.codevector_perplexity.detach()), 1),
                }
                _LOGGER.info(json.dumps(row))
                with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            if worked >= minutes * 60:
                break
    learned = {k: v for k, v in model.wav2vec2.state_dict().items() if not k.startswith("masked_spec")}
    start.wav2vec2.load_state_dict(learned, strict=False)
    save_checkpoint(start, folder)


def main() -> None:
    """Pre-train on the audio of some stores; transcripts are not used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stores", type=store_folder, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--init-from", type=Path, required=True, help="the checkpoint whose convolutions are used")
    parser.add_argument("--shape", type=int, nargs=4, default=(160, 4, 640, 4))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    shape = tuple(options.shape)
    dataset = Dataset(options.stores)
    pretrain(dataset, options.folder, options.minutes, options.init_from, shape)


if __name__ == "__main__":
    main()
