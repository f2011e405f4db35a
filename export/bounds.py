"""The sizes that config.json names, bounded before anything is built from them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ..runtime.errors import CheckpointError

LAYERS: Final = 1_000
"""Most layers of one kind: 48 are the most of a published model (XLS-R 2B), and each takes a moment to build."""
NUMBER: Final = 1 << 20
"""Largest size, kernel, stride or number of labels: 154 000 labels are the most of a published model of this family."""
FACTOR: Final = 4
"""How many times as many weights config.json may describe as there are: tied weights are counted twice."""
SMALL: Final = 100_000_000
"""Number of weights that is accepted whatever the files hold: 400 MB of float32."""

_SIZES = re.compile(
    r"(num|vocab|hidden|intermediate|conv|adapter|output|tdnn|xvector|classifier|codevector|proj|feat|feature|left|"
    r"right|squeeze|position|pos|depth|max_position|max_source|max_relative)(_|$)"
)
_LAYERS = re.compile(r"num_.*layers$")


def check_sizes(config: Mapping[str, object], place: Path) -> None:
    """Raise CheckpointError for a size that no model of this family has; ``place``: what the message begins with."""
    for key, values in config.items():
        if not _SIZES.match(key):
            continue
        limit = LAYERS if _LAYERS.match(key) else NUMBER
        if isinstance(values, list) and len(values) > LAYERS:
            raise CheckpointError(f"{place}: config.json: {key} has {len(values)} entries, {LAYERS} are the most")
        for value in values if isinstance(values, list) else (values,):
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) <= limit:
                shown = str(value) if isinstance(value, float) or abs(value) < 10**30 else "a number of over 30 digits"
                raise CheckpointError(
                    f"{place}: config.json: {key} is {shown}, {limit} is the most that a model of this family has"
                )


def check_amount(config: Mapping[str, object], weights: int, place: Path) -> None:
    """Raise CheckpointError where config.json describes far more weights than there are; ``weights``: their number."""
    described = sum(_described(config))
    if described > max(FACTOR * weights, SMALL):
        raise CheckpointError(
            f"{place}: config.json describes a model of about {described / 1e6:,.0f} million weights, and the files "
            f"hold {weights / 1e6:,.1f} million; it belongs to another checkpoint"
        )


def _described(config: Mapping[str, object]) -> Iterator[int]:
    """About how many weights the large parts have: attention and feed-forward layers, convolutions, output layer."""
    hidden, inner = _number(config, "hidden_size"), _number(config, "intermediate_size")
    yield _number(config, "num_hidden_layers") * (4 * hidden * hidden + 2 * hidden * inner)
    yield _number(config, "vocab_size") * hidden
    yield (
        _number(config, "num_conv_pos_embeddings")
        * hidden
        * hidden
        // max(1, _number(config, "num_conv_pos_embedding_groups"))
    )
    for sizes, kernels in (("conv_dim", "conv_kernel"), ("tdnn_dim", "tdnn_kernel")):
        widths, lengths = _numbers(config, sizes), _numbers(config, kernels)
        for width, before, length in zip(widths[1:], widths, lengths[1:]):
            yield width * before * length
    yield _number(config, "num_adapter_layers") * _number(config, "adapter_kernel_size") * 2 * hidden * hidden


def _number(config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    finite = isinstance(value, (int, float)) and math.isfinite(value)
    return max(0, int(value)) if finite and isinstance(value, (int, float)) else 0


def _numbers(config: Mapping[str, object], key: str) -> list[int]:
    values = config.get(key)
    return [int(value) for value in values if isinstance(value, int)] if isinstance(values, list) else []
