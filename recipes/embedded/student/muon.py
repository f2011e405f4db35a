"""Muon for the matrices of transformer layers: momentum whose update is made near-orthogonal.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). Matrices of one shape are handled as
one batched product, in bfloat16 where the processor is fast at it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..precision import multiplies_bfloat16


def orthogonal(matrices: Tensor, steps: int = 3) -> Tensor:
    """Return matrices [count, rows, columns] (rows <= columns) with singular values near one (Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    kind = matrices.dtype
    matrices = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if multiplies_bfloat16(matrices.device.type):
        matrices = matrices.bfloat16()
    for _ in range(steps):
        square = matrices @ matrices.transpose(1, 2)
        matrices = torch.baddbmm(matrices, torch.baddbmm(square, square, square, beta=b, alpha=c), matrices, beta=a)
    return matrices.to(kind)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, decoupled decay, and steps as large as AdamW's root mean square of 0.2."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        """Take matrices only; `decay` is decoupled from the gradient."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(tuple(parameter.shape), []).append(parameter)
            for (rows, columns), parameters in shapes.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(momentum, group["momentum"]))
                stacked = torch.stack(updates)
                flipped = rows > columns
                stacked = orthogonal(stacked.transpose(1, 2).contiguous() if flipped else stacked)
                stacked = stacked.transpose(1, 2) if flipped else stacked
                for parameter, update in zip(parameters, stacked):
                    parameter.mul_(1 - group["lr"] * group["decay"])
                    parameter.add_(update, alpha=-group["lr"] * 0.2 * max(rows, columns) ** 0.5)
