"""What no engine can go below: the products of a checkpoint, and the INT8 products that this machine reaches."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TypedDict


class Config(TypedDict):
    """The fields of a checkpoint's config.json that its products follow from."""

    conv_dim: list[int]
    conv_kernel: list[int]
    conv_stride: list[int]
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_conv_pos_embeddings: int
    num_conv_pos_embedding_groups: int
    vocab_size: int


def products(checkpoint: Path, seconds: float) -> float:
    """Operations (a product and a sum are two) for one clip: convolutions, linear layers and attention."""
    config: Config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    frames, channels, total = round(16000 * seconds), 1, 0
    for width, kernel, stride in zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"]):
        frames = (frames - kernel) // stride + 1
        total += frames * kernel * channels * width
        channels = width
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    position = config["num_conv_pos_embeddings"] * hidden * hidden // config["num_conv_pos_embedding_groups"]
    layer = 4 * hidden * hidden + 2 * hidden * inner + 2 * frames * hidden
    total += frames * (channels * hidden + position + config["num_hidden_layers"] * layer)
    return 2.0 * (total + frames * hidden * config["vocab_size"])


def peak(threads: int, size: int = 2048, runs: int = 12) -> float:
    """INT8 operations a second that PyTorch's product of two square matrices reaches: the fastest of some runs."""
    import torch

    torch.set_num_threads(threads)
    first, second = (torch.randint(-128, 127, (size, size), dtype=torch.int8) for _ in range(2))
    best = math.inf
    for _ in range(runs):
        started = time.perf_counter()
        torch._int_mm(first, second)
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best
