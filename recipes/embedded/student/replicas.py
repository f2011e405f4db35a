"""Processes that train one model together: each takes its own steps, and every few of them all go on from their mean.

This is local SGD (Stich, "Local SGD converges fast and communicates little", 2019), here between the processors of one
machine. `torchrun` starts the processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import torch
import torch.distributed as distributed
from torch import Tensor


class State(IntEnum):
    """What a process does after a step; where processes differ, all do the largest."""

    TRAINING = 0
    FINISHED = 1
    """The budget is used up."""
    STOPPED = 2
    """Told to end before that."""


class Replicas:
    """All processes that train this model, this one included; without torchrun it is alone."""

    def __init__(self, every: int) -> None:
        """Join the other processes, where torchrun has started this one; they meet every `every` steps."""
        self.every, self.steps = every, 0
        self.count, self.rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.count > 1:
            distributed.init_process_group("gloo")

    def folder(self, run: Path) -> Path:
        """Return the folder of this process: the run's own for the first, one inside it for each other."""
        return run / f"replica-{self.rank}" if self.rank else run

    @torch.no_grad()
    def follow(self, parameters: Sequence[Tensor]) -> None:
        """Take the first process's values of parameters."""
        if self.count > 1:
            values = _flat(parameters)
            distributed.broadcast(values, 0)
            _put(values, parameters)

    @torch.no_grad()
    def meet(self, parameters: Sequence[Tensor], state: State) -> State:
        """Count a step; when it is time, give parameters the mean of all processes' values.

        Returns the largest of the processes' states then, and TRAINING between.
        """
        if self.count == 1:
            return state
        self.steps += 1
        if self.steps % self.every:
            return State.TRAINING
        values, largest = _flat(parameters), torch.tensor(int(state))
        distributed.all_reduce(values)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        _put(values / self.count, parameters)
        return State(int(largest))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().cpu().flatten() for tensor in tensors])


def _put(values: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, part in zip(tensors, values.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(part.view_as(tensor))
