"""Matrix products in bfloat16 where the processor has instructions for them."""

from __future__ import annotations

import torch


def autocast(device: str = "cpu", enabled: bool = True) -> torch.autocast:
    """Return a context in which matrix products run in bfloat16, where `device` multiplies such matrices fast.

    On a CPU that is one with AMX tiles. Weights, norms, softmax and losses stay in float32.
    """
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_amx_tile_supported()
    return torch.autocast(device, torch.bfloat16, enabled=enabled and fast)
