"""Sizes in config.json are bounded before anything is built from them."""

from __future__ import annotations

import json
import resource
import shutil
import time
from pathlib import Path

import pytest

from wav2edge.cli import main
from wav2edge.export.bounds import check_sizes
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.runtime.errors import CheckpointError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 10**6),
        ("num_adapter_layers", 10**6),
        ("num_feat_extract_layers", 10**9),
        ("vocab_size", 10**12),
        ("num_labels", 10**12),
        ("hidden_size", 10**9),
        ("intermediate_size", 2**63),
        ("output_hidden_size", 2**40),
        ("classifier_proj_size", 2**40),
        ("adapter_attn_dim", 2**40),
        ("adapter_kernel_size", 2**40),
        ("xvector_output_dim", 2**40),
        ("num_conv_pos_embeddings", 10**10),
        ("conv_kernel", [10, 10**12, 3, 3, 3, 2, 2]),
        ("conv_stride", [10**12, 2, 2, 2, 2, 2, 2]),
        ("conv_dim", [32, 2**40, 32, 32, 32, 32, 32]),
        ("conv_dim", [32] * 10**5),
        ("tdnn_dim", [2**40]),
        ("left_max_position_embeddings", 10**12),
        ("conv_depthwise_kernel_size", 10**12),
        ("classifier_proj_size", 1e300),
        ("classifier_proj_size", float("nan")),
        ("vocab_size", 10**400),
    ],
)
def test_a_size_beyond_any_model_is_refused_before_the_model_is_built(
    layer_checkpoint: Path, tmp_path: Path, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Path(shutil.copytree(layer_checkpoint, tmp_path / "checkpoint"))
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, key: value}))
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["export", str(checkpoint), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"config.json: {key} " in line and "the most" in line and len(line) < 400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB for a refusal"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 900, "hidden_size": 4096, "intermediate_size": 65536},
        {"vocab_size": 10**6, "hidden_size": 2**19},
        {"num_conv_pos_embeddings": 2**20, "num_conv_pos_embedding_groups": 1, "hidden_size": 2**12},
        {"num_adapter_layers": 900, "adapter_kernel_size": 2**10, "hidden_size": 2**10},
        {"conv_dim": [2**19, 2**19], "conv_kernel": [3, 3]},
    ],
)
def test_sizes_that_are_possible_one_by_one_need_weights_to_match(
    layer_checkpoint: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    checkpoint = Path(shutil.copytree(layer_checkpoint, tmp_path / "checkpoint"))
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=r"describes .*million weights|vocabulary belongs to another"):
        Checkpoint.open(checkpoint).load()


def test_published_sizes_pass() -> None:
    large = {"num_hidden_layers": 48, "hidden_size": 1920, "intermediate_size": 7680, "vocab_size": 154_000}
    check_sizes({**large, "conv_kernel": [10, 3, 3], "max_train_samples": 10**12, "seed": 2**63}, Path("x"))
