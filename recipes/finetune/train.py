"""CTC fine-tuning with a frozen front end and SpecAugment, stopped when the error rate on dev no longer falls."""

from __future__ import annotations

import copy
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

from wav2edge.export.lengths import output_lengths
from wav2edge.export.steps import LOG_MEL_STEPS
from wav2edge.measure.scoring import score

from .labels import Writer, check_labels, new_tokenizer
from .speech import RATE, Clip, Speech, at_another_speed, batch_of, by_length


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is fine-tuned."""

    epochs: int = 40
    """Most passes over the speech; the learning rate falls to zero over them."""

    minutes: float = 25.0
    """Most minutes of wall-clock time."""

    patience: int = 8
    """Passes without a lower error rate on dev after which training stops."""

    rate: float = 3e-4
    """Peak learning rate of AdamW; 1e-4 and less suit large checkpoints (300 M parameters)."""

    warm_up: float = 0.1
    """Share of the steps over which the rate rises to its peak."""

    batch_seconds: float = 30.0
    """Most seconds of padded audio in a batch."""

    time_masked: float = 0.15
    """Share of frames that SpecAugment masks, in stretches of 10 frames."""

    features_masked: float = 0.05
    """Share of hidden features that SpecAugment masks, in stretches of 10 features."""

    speed: float = 0.1
    """Clips are played up to this share faster or slower."""

    head_steps: int = 0
    """First steps that train only the output layer; a new one needs a few hundred."""

    seed: int = 1
    """Seed of order, masks and speeds."""

    def __post_init__(self) -> None:
        """Raise ValueError for a setting out of its range."""
        for name in ("warm_up", "time_masked", "features_masked", "speed"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a share, from 0 to below 1")
        for name in ("epochs", "minutes", "patience", "rate", "batch_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("head_steps", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")


@dataclass
class Checkpoint:
    """A model with what turns audio into its inputs and its labels into text."""

    model: Any
    extractor: Any
    tokenizer: Any
    new_head: bool
    """Whether the output layer is new: the checkpoint had no CTC labels."""

    def writer(self) -> Writer:
        """What writes transcripts in its labels."""
        return Writer(self.tokenizer, self.model.config.vocab_size)

    def frames(self, samples: int) -> int:
        """Return how many frames the output has for a clip."""
        length = torch.tensor(samples)
        if "input_features" in self.extractor.model_input_names:  # Wav2Vec2-BERT's, before its own layers
            for step in LOG_MEL_STEPS:
                length = output_lengths(length, step)
        return int(self.model._get_feat_extract_output_lengths(length))

    def save(self, folder: Path) -> None:
        """Write a Hugging Face directory that `wav2edge export` takes."""
        for part in (self.model, self.extractor, self.tokenizer):
            part.save_pretrained(folder)


def open_checkpoint(name: str, texts: Sequence[str], settings: Settings) -> Checkpoint:
    """Open a checkpoint in float32 with SpecAugment on and its convolutions frozen.

    `name` is a folder or a hub's name. One that was only pre-trained gets a new head, and where it has no labels those
    of `texts`. Raises ValueError for what is not a checkpoint at 16 kHz, or one with a head and no labels.
    """
    try:
        return _opened(name, texts, settings)
    except Exception as error:  # transformers raises of many families, by what is damaged
        raise ValueError(f"{name}: it cannot be opened ({str(error).strip().splitlines()[0]})") from error


def _opened(name: str, texts: Sequence[str], settings: Settings) -> Checkpoint:
    extractor, config = AutoFeatureExtractor.from_pretrained(name), AutoConfig.from_pretrained(name)
    if extractor.sampling_rate != RATE:
        raise ValueError(f"it takes sound at {extractor.sampling_rate} Hz; only {RATE} Hz can be fine-tuned")
    new_head = not any(architecture.endswith("ForCTC") for architecture in config.architectures or ())
    own_labels = True
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, TypeError) as error:  # transformers raises any of these without a tokenizer
        if not new_head:
            raise ValueError("it has an output layer, but its labels (vocab.json) are missing or damaged") from error
        tokenizer, own_labels = new_tokenizer(texts), False
    check_labels(tokenizer)
    changes: dict[str, object] = {
        "apply_spec_augment": True,
        "mask_time_prob": settings.time_masked,
        "mask_time_length": 10,
        "mask_feature_prob": settings.features_masked,
        "mask_feature_length": min(10, config.hidden_size),
        "layerdrop": 0.0,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
    }
    if new_head:
        changes |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config.update(changes)
    model = AutoModelForCTC.from_pretrained(
        name, config=config, dtype=torch.float32, ignore_mismatched_sizes=not own_labels
    )
    _freeze_convolutions(model)
    return Checkpoint(model, extractor, tokenizer, new_head)


def trainable(checkpoint: Checkpoint, clips: Sequence[Clip]) -> tuple[list[Clip], dict[str, int]]:
    """Return the clips whose transcript can be learned, and how many others there are, by reason.

    Clips in which nothing is said are kept: they are learned as silence.
    """
    writer, left_out = checkpoint.writer(), Counter[str]()
    kept = []
    for clip in clips:
        ids = writer.ids(clip.text)
        frames = checkpoint.frames(len(clip.samples))
        if clip.text.strip() and not ids:
            left_out["no character of the transcript is a label"] += 1
        elif len(ids) + sum(one == other for one, other in itertools.pairwise(ids)) > frames:  # CTC parts equal labels
            left_out["the transcript is too long for the sound"] += 1
        else:
            kept.append(clip)
    return kept, dict(left_out)


@torch.inference_mode()
def transcribe(checkpoint: Checkpoint, clips: Sequence[Clip], seconds: float = 60.0) -> list[str]:
    """Return greedy transcripts of clips, in their order."""
    model, writer = checkpoint.model.eval(), checkpoint.writer()
    texts = [""] * len(clips)
    for numbers in by_length(clips, seconds):
        batch = batch_of([clips[i] for i in numbers], writer, checkpoint.extractor)
        ids = model(**_on(batch.inputs, model)).logits.argmax(-1).cpu()
        lengths = _frames(model, batch.inputs, ids.shape[1])
        for i, row, length in zip(numbers, ids, lengths):
            texts[i] = checkpoint.tokenizer.decode(row[:length].tolist())
    return texts


def word_error_rate(checkpoint: Checkpoint, clips: Sequence[Clip]) -> float:
    """Return the WER of greedy transcripts as a fraction; case and punctuation are ignored.

    Where no label parts words, a transcript is one word.
    """
    gap = checkpoint.writer().gap
    references = [clip.text if gap else "".join(clip.text.split()) for clip in clips]
    return score(references, transcribe(checkpoint, clips)).wer.value


def fine_tune(
    checkpoint: Checkpoint, speech: Speech, settings: Settings, log: Callable[[dict[str, float]], None] = lambda _: None
) -> list[dict[str, float]]:
    """Train, and leave the checkpoint with the weights of the lowest WER on dev; return the history by pass.

    A new output layer writes nothing at first: while its WER stays the same, the pass of the lowest loss is the best.
    Passes that train the output layer alone do not count towards `patience`. A WER of 0 before leaves nothing to learn.

    A row has `epoch`, `loss` (CTC, a clip), `dev_wer` (a fraction) and `minutes`.
    """
    model, writer = checkpoint.model, checkpoint.writer()
    generator = random.Random(settings.seed)
    torch.manual_seed(settings.seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, settings.rate, (0.9, 0.98), weight_decay=0.01)
    batches = list(by_length(speech.train, settings.batch_seconds))
    steps = settings.epochs * len(batches)
    began, step = time.monotonic(), 0
    best, weights = word_error_rate(checkpoint, speech.dev), copy.deepcopy(model.state_dict())
    history = [{"epoch": 0.0, "dev_wer": best, "minutes": 0.0}]
    log(history[0])
    if best == 0:
        return history
    since_best, least = 0, float("inf")
    for epoch in range(1, settings.epochs + 1):
        model.train()
        generator.shuffle(batches)
        total = 0.0
        for numbers in batches:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * rate_at(step, steps, settings.warm_up)
            _train_head_only(model, step < settings.head_steps)
            total += _step(checkpoint, [speech.train[i] for i in numbers], writer, settings, generator, optimizer)
            step += 1
        wer, minutes = word_error_rate(checkpoint, speech.dev), (time.monotonic() - began) / 60
        history.append({"epoch": epoch, "loss": total / len(batches), "dev_wer": wer, "minutes": round(minutes, 2)})
        log(history[-1])
        since_best += 1
        if wer < best or (checkpoint.new_head and wer == best and total < least):
            best, weights, since_best = wer, copy.deepcopy(model.state_dict()), 0
        least = min(least, total)
        if step <= settings.head_steps:
            since_best = 0
        if since_best >= settings.patience or minutes >= settings.minutes:
            break
    model.load_state_dict(weights)
    return history


def rate_at(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the peak learning rate: a linear rise, then a linear fall to zero."""
    rise = max(1.0, warm_up * steps)
    return min((step + 1) / rise, (steps - step) / max(1.0, steps - rise))


def _step(
    checkpoint: Checkpoint,
    clips: Sequence[Clip],
    writer: Writer,
    settings: Settings,
    generator: random.Random,
    optimizer: torch.optim.Optimizer,
) -> float:
    """Take one step on a batch of clips and return its loss."""
    model = checkpoint.model
    varied = [at_another_speed(clip, generator, settings.speed) if settings.speed else clip for clip in clips]
    batch = batch_of(varied, writer, checkpoint.extractor)
    loss = model(**_on(batch.inputs, model), labels=batch.labels.to(model.device)).loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _train_head_only(model: Any, alone: bool) -> None:
    """Train the output layer alone, or the transformer layers too; the convolutions stay frozen."""
    model.base_model.requires_grad_(not alone)
    _freeze_convolutions(model)


def _freeze_convolutions(model: Any) -> None:
    """Keep the front end as it is; Wav2Vec2-BERT has none, its features are computed."""
    if hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()


def _on(inputs: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    return {name: value.to(model.device) for name, value in inputs.items()}


def _frames(model: Any, inputs: dict[str, Tensor], most: int) -> list[int]:
    """Return the valid frames of each clip of a batch; all, for models that take padding as silence."""
    if "attention_mask" not in inputs:
        return [most] * len(inputs["input_values"])
    lengths = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1))
    return [int(length) for length in lengths]
