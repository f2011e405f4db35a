"""Train the student: its front end, its encoder, or everything; a run goes on where it stopped.

python -m recipes.embedded.student.train RUN --stores STORE… --dev STORE [--init-from CHECKPOINT]
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..precision import autocast
from ..speech.augment import Augmentation
from ..speech.batches import Batch, Chain, Collator, draw
from ..speech.clips import store_folder
from ..speech.dataset import Dataset
from ..speech.pieces import Pieces
from ..teacher.whisper import Whisper
from . import attention
from .decode import measure
from .losses import Heads, losses
from .model import Student, adopt, embedded_config, new_model, save_checkpoint, set_mel_bank
from .muon import Muon
from .plan import Plan, rate_at
from .replicas import Replicas, State

_LOGGER = logging.getLogger("train")


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
        teacher: Whisper | None = None,
    ) -> None:
        """Begin a run from the weights of `start` that fit, or go on with the one in the folder.

        The first `frozen` convolutions are not trained.
        """
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(plan.seed)
        self.folder, self.plan, self.device, self.teacher = folder, plan, device, teacher
        net = new_model(embedded_config(*shape))
        if start:
            adopt(net, start)
        net.wav2vec2.feature_extractor.conv_layers[:frozen].requires_grad_(False)
        if device == "cpu":
            net.config._attn_implementation = attention.NAME
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
        self.step, self.hours, self.worked, self.fresh = 0, 0.0, 0.0, start is None
        if start and (start / "heads.pt").exists() and not (folder / "state.pt").exists():
            self.heads.load_state_dict(torch.load(start / "heads.pt", map_location=device, weights_only=True))
        if (folder / "state.pt").exists():
            state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
            self.student.load_state_dict(state["student"])
            self.heads.load_state_dict(state["heads"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            self.average = state["average"]
            self.step, self.hours, self.worked = state["step"], state["hours"], state["worked"]
        (folder / "plan.json").write_text(json.dumps(asdict(plan), indent=1))

    @property
    def progress(self) -> float:
        """Share of the budget used, in hours of audio or minutes of processor time, whichever is nearer its end."""
        return max(self.hours / self.plan.hours, self.worked / 60 / self.plan.minutes)

    def save(self) -> None:
        """Write everything needed to go on, whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average,
            "step": self.step,
            "hours": self.hours,
            "worked": self.worked,
        }
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")

    def learn(self, batch: Batch) -> dict[str, float]:
        """Take one optimizer step."""
        if self.fresh and not self.step:
            set_mel_bank(self.student.net, batch.audio)
        for optimizer, peak in zip(self.optimizers, (self.plan.rate, self.plan.matrix_rate)):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate_at(self.plan, self.step, self.progress)
        with autocast(self.device):
            parts = losses(self.student, self.heads, batch, self.plan, self.hours, self.teacher)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.hours += batch.seconds / 3600
        keep = min(self.plan.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.student.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        return {name: float(value.detach()) for name, value in parts.items()}

    def averaged(self) -> Student:
        """Return a copy of the model with averaged weights, ready to be measured."""
        student = Student(new_model(copy.deepcopy(self.student.net.config))).to(self.device).eval()
        student.load_state_dict(self.average)
        return student

    def log(self, row: dict[str, object]) -> None:
        """Append one line to the log."""
        row = {"step": self.step, "audio_hours": round(self.hours, 3), "cpu_minutes": round(self.worked / 60, 2), **row}
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
    """Yield the batches of some draws, two made ahead of the one in use."""
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Batch]] = deque()
        for clips in drawn:
            coming.append(pool.submit(collate, clips))
            if len(coming) > 2:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def train(run: Run, dataset: Dataset, dev: Dataset, shares: dict[str, float], every: float, replicas: Replicas) -> None:
    """Train to the end of the budget; measure on dev and save every `every` minutes, and save on SIGTERM.

    Processes that train together all end where one of them has used up its budget or is told to end.
    """
    plan, state = run.plan, State.TRAINING
    generator = np.random.default_rng([plan.seed, run.step])
    scale = dataset.feature_scale(np.random.default_rng(0))
    collate = Collator(dataset, Augmentation(strength=plan.strength), plan.seed + run.step, scale)
    pieces = Pieces(dataset, plan.piece, plan.in_pieces) if plan.piece > 0 else None
    began, totals, counted = time.monotonic(), dict[str, float](), 0
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    replicas.follow(run.parameters)
    while state == State.TRAINING and (replicas.count > 1 or run.progress < 1):
        longest = plan.longest_first if run.hours < plan.longest_until else 18.0
        drawn = draw(dataset, shares, plan.batch_seconds, longest, generator, plan.joined, plan.chained, pieces)
        for batch in ahead(collate, drawn):
            tick = time.process_time()
            parts = run.learn(to_device(batch, run.device))
            run.worked += time.process_time() - tick
            counted += 1
            for name, value in parts.items():
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
                if run.hours > plan.front_hours:
                    run.log({"dev": measure(run.averaged(), dev, run.device)})
                dataset.refresh()
                began = time.monotonic()
            state = State.STOPPED if ended else State.FINISHED if run.progress >= 1 else State.TRAINING
            state = replicas.meet(run.parameters, state)
            if state != State.TRAINING:
                break
    run.save()
    if state == State.STOPPED:
        raise SystemExit(143)  # The exit code of a process ended by SIGTERM: the run is unfinished.
    result = measure(run.averaged(), dev, run.device)
    run.log({"dev": result})
    save_checkpoint(run.averaged().net, run.folder / "checkpoint")
    torch.save(run.heads.state_dict(), run.folder / "checkpoint/heads.pt")


def main() -> None:
    """Train in a folder, resuming what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stores", type=store_folder, nargs="+", required=True)
    parser.add_argument("--dev", type=store_folder, required=True)
    parser.add_argument("--shares", default="{}", help="JSON: share of time of each corpus; others get 1")
    parser.add_argument("--init-from", type=Path, help="a checkpoint folder to start from")
    parser.add_argument("--shape", type=int, nargs=4, default=(), metavar=("HIDDEN", "LAYERS", "INNER", "HEADS"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=float, default=5.0, help="minutes between saves, each with error rates on dev")
    parser.add_argument("--no-targets", action="store_true", help="transcripts only: no teacher")
    parser.add_argument("--whisper", type=Path, help="the teacher, for the loss of the convolutions")
    parser.add_argument("--portion", type=float, default=1.0, help="share of the clips to train on (learning curves)")
    parser.add_argument("--frozen", type=int, default=0, help="how many convolutions, from the first, are not trained")
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
    teacher = Whisper(options.whisper, device) if options.whisper else None
    replicas = Replicas(plan.meet_every)
    folder, plan = replicas.folder(options.folder), replace(plan, seed=plan.seed + replicas.rank)
    run = Run(folder, plan, options.init_from, device, tuple(options.shape), options.frozen, teacher)
    dataset = Dataset(options.stores, not options.no_targets, portion=options.portion)
    shares = dict.fromkeys(dataset.groups, 1.0) | json.loads(options.shares)
    run.log({"hours": {k: round(v, 3) for k, v in dataset.hours().items()}, "shares": shares})
    train(run, dataset, Dataset([options.dev], False), shares, options.every, replicas)


if __name__ == "__main__":
    main()
