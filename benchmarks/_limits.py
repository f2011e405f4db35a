"""What no engine can go below: the products of a checkpoint, and the INT8 products that this machine reaches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import numpy as np

from wav2edge.devices.detect import detect
from wav2edge.runtime.engines import library

IN_A_ROW = 8
"""Products that are measured together; about a clip of 10 s at base shape."""


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


class Peak:
    """The INT8 operations a second that this machine reaches: the product of two square matrices.

    It is PyTorch's or ONNX Runtime's product, whichever is faster. A machine's speed changes from moment to moment:
    measure it beside each run that it is compared with, and about as long.
    """

    def __init__(self, threads: int, size: int = 2048) -> None:
        """Prepare the products."""
        self._products = [_onnxruntime(threads, size)]
        if detect().cpu.vnni:  # without it PyTorch's product is a plain loop, a hundredth as fast
            self._products.append(_pytorch(threads, size))
        self._operations = 2.0 * IN_A_ROW * size**3

    def rate(self) -> float:
        """Operations a second of ``IN_A_ROW`` products now."""
        return self._operations / min(map(_seconds, self._products))


def _seconds(product: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(IN_A_ROW):
        product()
    return time.perf_counter() - started


def _pytorch(threads: int, size: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    first, second = (torch.randint(-128, 127, (size, size), dtype=torch.int8) for _ in range(2))
    return lambda: torch._int_mm(first, second)


def _onnxruntime(threads: int, size: int) -> Callable[[], object]:
    """Unsigned by signed, the fastest on x86; weights in seven bits, as a processor without VNNI needs them."""
    from onnx import TensorProto, helper, numpy_helper

    numbers = np.random.default_rng(0)
    weights = numpy_helper.from_array(numbers.integers(-64, 64, (size, size), np.int8), "weights")
    read = helper.make_tensor_value_info("read", TensorProto.UINT8, [size, size])
    written = helper.make_tensor_value_info("written", TensorProto.INT32, [size, size])
    product = helper.make_node("MatMulInteger", ["read", "weights"], ["written"])
    graph = helper.make_graph([product], "product", [read], [written], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnxruntime = library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"read": numbers.integers(0, 256, (size, size), np.uint8)}
    return lambda: session.run(None, feeds)
