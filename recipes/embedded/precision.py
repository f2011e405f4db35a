"""Matrix products in bfloat16 where the processor has instructions for them."""

from __future__ import annotations

import torch


def multiplies_bfloat16(device: str = "cpu") -> bool:
    """Return whether `device` multiplies matrices of bfloat16 fast; on a CPU this takes AMX tiles."""
    return torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_amx_tile_supported()


def autocast(device: str = "cpu", enabled: bool = True) -> torch.autocast:
    """Return a context in which matrix products run in bfloat16, where `device` is fast at it; weights stay float32."""
    return torch.autocast(device, torch.bfloat16, enabled=enabled and multiplies_bfloat16(device))
