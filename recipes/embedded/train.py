"""Train the small model: convolutions on log-mel first, then teacher features, teacher posteriors and transcripts."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import Augmentation
from batches import Batch, Chain, Collator, Speech, draw, feature_scale
from cache import HOP
from evaluate import measure
from model import CENTRES, EARLY, MEL, Student, adopt, embedded_config, new_model, save_checkpoint, tune
from muon import Muon
from precision import autocast
from teacher import Teacher
from torch import Tensor, nn

_LOGGER = logging.getLogger("train")


@dataclass(frozen=True)
class Plan:
    """What a training run is: hours of audio to hear or minutes of processor to use, rates, weights of the losses."""

    hours: float = 50.0
    minutes: float = 1e9
    rate: float = 2e-3
    matrix_rate: float = 3e-3
    warm_steps: int = 300
    decay_from: float = 0.5
    batch_seconds: float = 18.0
    ear_hours: float = 1.0
    ear_weight: float = 0.1
    longest_first: float = 18.0
    longest_until: float = 8.0
    feature_weight: float = 1.0
    middle_weight: float = 0.3
    posterior_weight: float = 1.0
    ctc_weight: float = 0.6
    average: float = 0.998
    strength: float = 1.0
    dropout: float = 0.0
    joined: float = 0.0
    chained: float = 30.0
    seed: int = 1


class Heads(nn.Module):
    """Throw-away projections that the targets are compared with."""

    def __init__(self, channels: Sequence[int], hidden: int, width: int = 512, mels: int = 80) -> None:
        """Project convolutions to log-mel and to what the teacher's make of it, and hidden states to its features."""
        super().__init__()
        self.mel = nn.Linear(channels[MEL], mels)
        self.early = nn.Linear(channels[EARLY], width)
        self.late = nn.Linear(channels[-1], width)
        self.features = nn.Linear(hidden, width)
        self.middle_features = nn.Linear(hidden, width)
        for name, size in (("mel", mels), ("ear", width)):
            self.register_buffer(name + "_mean", torch.zeros(size))
            self.register_buffer(name + "_deviation", torch.zeros(size))

    def hear(self, found: list[Tensor], audio: Tensor, frames: Tensor, teacher: Teacher) -> Tensor:
        """Return how far convolutions of audio are from log-mel and from the teacher's convolutions (mean squares).

        The targets are functions of the sound alone, so that every second of any sound teaches the front end, whoever
        speaks; the first batch sets their scale.
        """
        mel, _ = teacher.ear(audio, CENTRES[MEL])
        _, ear = teacher.ear(audio, CENTRES[EARLY])
        later = (CENTRES[-1] - CENTRES[EARLY]) // HOP
        asked = (
            (self.mel(found[MEL]), self._scaled("mel", mel), 2 * frames),
            (self.early(found[EARLY]), self._scaled("ear", ear), frames),
            (self.late(found[-1]), self._scaled("ear", ear[:, later:]), frames),
        )
        total = torch.zeros((), device=audio.device)
        for guess, target, known in asked:
            # Neither the padding behind a clip, nor what the teacher's windows hear of the clip's edges.
            at = torch.arange(guess.shape[1], device=audio.device)[None]
            inside = (at >= 2) & (at < known[:, None] - 4)
            total = total + (guess - target[:, : guess.shape[1]])[inside].square().mean()
        return total

    def _scaled(self, name: str, target: Tensor) -> Tensor:
        mean, deviation = getattr(self, name + "_mean"), getattr(self, name + "_deviation")
        if not bool(deviation.any()):
            mean.copy_(target.mean((0, 1))), deviation.copy_(target.std((0, 1)) + 1e-3)
        return ((target - mean) / deviation).clamp(-6, 6)


def losses(
    student: Student, heads: Heads, batch: Batch, plan: Plan, heard: float, teacher: Teacher | None
) -> dict[str, Tensor]:
    """Return the weighted losses of a batch after `heard` hours of audio."""
    layers = student.convolutions(batch.audio)
    convolved = layers[-1]
    valid = torch.arange(convolved.shape[1], device=convolved.device)[None] < batch.frames[:, None]
    found: dict[str, Tensor] = {}
    if teacher is not None and convolved.requires_grad:
        alone = heard < plan.ear_hours
        found["ear"] = (1.0 if alone else plan.ear_weight) * heads.hear(layers, batch.audio, batch.frames, teacher)
        if alone:
            return found
    hidden, middle = student.encode(convolved, batch.frames, batch.mask)
    if batch.features is not None and plan.feature_weight > 0:
        target = batch.features[valid]
        found["features"] = plan.feature_weight * (heads.features(hidden)[valid] - target).square().mean()
        if plan.middle_weight > 0:
            found["middle"] = plan.middle_weight * (heads.middle_features(middle)[valid] - target).square().mean()
    scores = student.logits(hidden).float().log_softmax(-1)
    if batch.posteriors is not None and plan.posterior_weight > 0:
        target = batch.posteriors[valid]
        found["posteriors"] = -plan.posterior_weight * (target * scores[valid]).sum(-1).mean()
        if plan.middle_weight > 0:
            early = student.logits(middle)[valid].log_softmax(-1)
            found["middle_posteriors"] = -plan.middle_weight * 0.5 * (target * early).sum(-1).mean()
    told = batch.label_lengths > 0  # Speech without a transcript has the teacher alone.
    if bool(told.any()):
        lengths = batch.label_lengths[told]
        ctc = F.ctc_loss(
            scores[told].transpose(0, 1), batch.labels[told], batch.frames[told], lengths, 0, "none", zero_infinity=True
        )
        found["ctc"] = plan.ctc_weight * ctc.sum() / lengths.sum()
    return found


def rate_at(plan: Plan, step: int, progress: float) -> float:
    """Share of the peak learning rate: warm-up by steps, flat, then linear to zero over the last of the progress."""
    tail = (1 - progress) / (1 - plan.decay_from)
    return min(1.0, (step + 1) / plan.warm_steps, max(0.0, tail))


class Run:
    """A training run in a folder: it resumes from `state.pt` there and logs to `log.jsonl`."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        start: Path | None,
        device: str,
        shape: tuple[int, ...] = (),
        frozen: int = 0,
        teacher: Teacher | None = None,
    ) -> None:
        """Begin a run, from the weights of `start` that fit, or go on with the one that is in the folder.

        The first `frozen` convolutions stay as they are.
        """
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(plan.seed)
        self.folder, self.plan, self.device, self.teacher = folder, plan, device, teacher
        net = new_model(embedded_config(*shape))
        if start:
            adopt(net, start)
        net.wav2vec2.feature_extractor.conv_layers[:frozen].requires_grad_(False)
        for module in net.wav2vec2.encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = plan.dropout
        self.student = Student(net).to(device).train()
        self.heads = Heads(net.config.conv_dim, net.config.hidden_size).to(device)
        self.parameters = [*self.student.parameters(), *self.heads.parameters()]
        matrices = [p for p in net.wav2vec2.encoder.layers.parameters() if p.ndim == 2] if plan.matrix_rate else []
        known = {id(p) for p in matrices}
        others = [p for p in self.parameters if id(p) not in known]
        adam = torch.optim.AdamW(others, plan.rate, (0.9, 0.98), weight_decay=0.01, fused=True)
        self.optimizers: list[torch.optim.Optimizer] = [adam]
        if matrices:
            self.optimizers.append(Muon(matrices, plan.matrix_rate))
        self.average = {k: v.detach().clone() for k, v in self.student.state_dict().items()}
        self.step, self.heard, self.worked, self.fresh = 0, 0.0, 0.0, start is None
        if start and (start / "heads.pt").exists() and not (folder / "state.pt").exists():
            self.heads.load_state_dict(torch.load(start / "heads.pt", map_location=device, weights_only=True))
        if (folder / "state.pt").exists():
            state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
            self.student.load_state_dict(state["student"])
            self.heads.load_state_dict(state["heads"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            self.average = state["average"]
            self.step, self.heard, self.worked = state["step"], state["heard"], state["worked"]
        (folder / "plan.json").write_text(json.dumps(asdict(plan), indent=1))

    @property
    def progress(self) -> float:
        """Share of the budget used, in hours heard or minutes worked, whichever is nearer its end."""
        return max(self.heard / self.plan.hours, self.worked / 60 / self.plan.minutes)

    def save(self) -> None:
        """Write everything needed to go on, whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average,
            "step": self.step,
            "heard": self.heard,
            "worked": self.worked,
        }
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")

    def learn(self, batch: Batch) -> dict[str, float]:
        """Take one optimizer step."""
        if self.fresh and not self.step:
            tune(self.student.net, batch.audio)
        for optimizer, peak in zip(self.optimizers, (self.plan.rate, self.plan.matrix_rate)):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate_at(self.plan, self.step, self.progress)
        with autocast(self.device):
            found = losses(self.student, self.heads, batch, self.plan, self.heard, self.teacher)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.heard += batch.seconds / 3600
        keep = min(self.plan.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.student.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        return {name: float(value.detach()) for name, value in found.items()}

    def averaged(self) -> Student:
        """Return a copy of the model with averaged weights, ready to be measured."""
        student = Student(new_model(self.student.net.config)).to(self.device).eval()
        student.load_state_dict(self.average)
        return student

    def log(self, row: dict[str, object]) -> None:
        """Append one line to the log."""
        row = {"step": self.step, "heard": round(self.heard, 3), "cpu_minutes": round(self.worked / 60, 2), **row}
        _LOGGER.info(json.dumps(row))
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def to_device(batch: Batch, device: str) -> Batch:
    """Move the tensors of a batch."""
    if device == "cpu":
        return batch
    moved = {k: v.to(device, non_blocking=True) for k, v in vars(batch).items() if isinstance(v, Tensor)}
    return Batch(**{**vars(batch), **moved})


def ahead(collate: Collator, drawn: list[list[Chain]]) -> Iterator[Batch]:
    """Yield the batches of some draws, the next one made while the last is learned from."""
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Batch]] = deque()
        for clips in drawn:
            coming.append(pool.submit(collate, clips))
            if len(coming) > 2:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def train(run: Run, speech: Speech, dev: Speech, shares: dict[str, float], every: float) -> None:
    """Train to the end of the budget; measure on dev and save every `every` minutes, and save when told to end."""
    plan = run.plan
    generator = np.random.default_rng([plan.seed, run.step])
    scale = feature_scale(speech, np.random.default_rng(0)) if any(f is not None for f in speech.features) else None
    collate = Collator(speech, Augmentation(strength=plan.strength), plan.seed + run.step, scale)
    began, totals, counted = time.monotonic(), dict[str, float](), 0
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    while run.progress < 1:
        longest = plan.longest_first if run.heard < plan.longest_until else 18.0
        drawn = draw(speech, shares, plan.batch_seconds, longest, generator, plan.joined, plan.chained)
        for batch in ahead(collate, drawn):
            tick = time.process_time()
            found = run.learn(to_device(batch, run.device))
            run.worked += time.process_time() - tick
            counted += 1
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + value
            if counted == 50:
                run.log(
                    {
                        "rate": round(rate_at(plan, run.step, run.progress), 3),
                        **{k: round(v / 50, 4) for k, v in totals.items()},
                    }
                )
                totals, counted = {}, 0
            if time.monotonic() - began > every * 60:
                run.save()
                if run.heard > plan.ear_hours:
                    run.log({"dev": measure(run.averaged(), dev, run.device)})
                speech.refresh()
                began = time.monotonic()
            if ended:
                run.save()
                raise SystemExit(143)  # As a process that SIGTERM ended: the run is not at its end.
            if run.progress >= 1:
                break
    run.save()
    result = measure(run.averaged(), dev, run.device)
    run.log({"dev": result})
    save_checkpoint(run.averaged().net, run.folder / "checkpoint")
    torch.save(run.heads.state_dict(), run.folder / "checkpoint/heads.pt")


def main() -> None:
    """Train in a folder, resuming what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stores", type=Path, nargs="+", required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--shares", default="{}", help="JSON: share of time of each corpus; others get 1")
    parser.add_argument("--init-from", type=Path, help="a checkpoint folder to start from")
    parser.add_argument("--shape", type=int, nargs=4, default=(), metavar=("HIDDEN", "LAYERS", "INNER", "HEADS"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=float, default=5.0, help="minutes between saves and dev readings")
    parser.add_argument("--no-targets", action="store_true", help="transcripts only: no teacher")
    parser.add_argument("--whisper", type=Path, help="the teacher, whose ear the convolutions are to have")
    parser.add_argument("--portion", type=float, default=1.0, help="share of the clips to train on (learning curves)")
    parser.add_argument("--frozen", type=int, default=0, help="convolutions that stay as they are, from the first")
    parser.add_argument("--device", default="auto")
    for name, value in asdict(Plan()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(**{name: getattr(options, name) for name in asdict(Plan())})
    teacher = Teacher(options.whisper, device) if options.whisper else None
    run = Run(options.folder, plan, options.init_from, device, tuple(options.shape), options.frozen, teacher)
    speech, dev = Speech(options.stores, not options.no_targets, portion=options.portion), Speech([options.dev], False)
    shares = dict.fromkeys(speech.groups, 1.0) | json.loads(options.shares)
    run.log({"hours": {k: round(v, 3) for k, v in speech.hours().items()}, "shares": shares})
    train(run, speech, dev, shares, options.every)


if __name__ == "__main__":
    main()
