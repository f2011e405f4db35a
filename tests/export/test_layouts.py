"""The layouts that people download most, each with its own configuration, vocabulary and files, and random weights.

A folder in ``layouts`` holds a checkpoint's small files with their published settings, shrunk; ``weights.json`` says
how its weights are stored, and which language is exported. Quick tests load each and compare the text of fixed logits
with that of transformers' own processor; slow ones export it, and run its selftest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from wav2edge.cli import main
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.families import POOLED, family_of
from wav2edge.export.labels import Labels
from wav2edge.export.pooled import PooledModel

FOLDER = Path(__file__).parent / "layouts"
LAYOUTS = sorted(path.name for path in FOLDER.iterdir())
State = dict[str, Tensor]


def stored(layout: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((layout / "weights.json").read_text())
    return values


def random_state(layout: Path) -> State:
    config_values = json.loads((layout / "config.json").read_text())
    torch.manual_seed(11)
    name = config_values["architectures"][0]
    if name.endswith(POOLED.suffix):
        family = family_of(config_values, name)
        config_class: Any = getattr(transformers, f"{family.classes}Config")
        model: Any = PooledModel(config_class.from_dict(config_values), family)
    else:
        architecture: Any = getattr(transformers, name)
        model = architecture(architecture.config_class.from_dict(config_values))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("lm_head", "classifier")) or name.endswith("bias"):
                parameter.normal_(0, 0.3)
    return {name: value.clone() for name, value in model.state_dict().items()}


def write_weights(layout: Path, folder: Path) -> None:
    how, state = stored(layout), random_state(layout)
    state = {name: value.to(getattr(torch, how.get("dtype", "float32"))) for name, value in state.items()}
    if how.get("weight_norm") == "old":
        for new, old in (
            ("parametrizations.weight.original0", "weight_g"),
            ("parametrizations.weight.original1", "weight_v"),
        ):
            state = {name.replace(new, old): value for name, value in state.items()}
    pickled, count = how.get("format") == "bin", how.get("shards", 1)
    stem, end = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    names = sorted(state)
    for index in range(count):
        part = {name: state[name] for name in names[index::count]}
        numbered = f"-{index + 1:05d}-of-{count:05d}" if count > 1 else ""
        file = folder / f"{stem}{numbered}.{end}"
        torch.save(part, file) if pickled else save_file(part, file, metadata={"format": "pt"})
    if count > 1:
        shards = {name: f"{stem}-{i + 1:05d}-of-{count:05d}.{end}" for i in range(count) for name in names[i::count]}
        (folder / f"{stem}.{end}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    for code, size in how.get("adapters", {}).items():
        rows = {name: value for name, value in state.items() if "adapter_layer" in name}
        head = {
            "lm_head.weight": torch.randn(size, state["lm_head.weight"].shape[1]),
            "lm_head.bias": torch.randn(size),
        }
        save_file({**rows, **head}, folder / f"adapter.{code}.safetensors", metadata={"format": "pt"})


@pytest.fixture
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The layout with weights, as a download of it would be."""
    name: str = request.param
    layout, folder = FOLDER / name, tmp_path / name
    shutil.copytree(layout, folder, ignore=shutil.ignore_patterns("weights.json"))
    write_weights(layout, folder)
    return folder


def their_text(folder: Path, path: list[int]) -> str:
    """The text of transformers' own processor, without the special tokens that it writes out."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    text = str(tokenizer.decode(path))
    for special in sorted({*tokenizer.all_special_tokens, "<s>", "</s>"}, key=len, reverse=True):
        if special != "|":
            text = text.replace(special, "")
    return text


@pytest.mark.parametrize("checkpoint", LAYOUTS, indirect=True)
def test_layout_is_understood(checkpoint: Path, spell: Callable[[list[int], Labels], str]) -> None:
    language = stored(FOLDER / checkpoint.name).get("language")
    opened = Checkpoint.open(checkpoint, language=language)
    model = opened.load()
    named = json.loads((checkpoint / "config.json").read_text())["architectures"][0]
    assert type(model).__name__ == ("PooledModel" if named.endswith(POOLED.suffix) else named)
    if opened.head.name != "ctc":
        assert opened.labels.names in ((), tuple(model.config.id2label.values()))
        return
    random = np.random.default_rng(2)
    for _ in range(5):
        path = random.integers(0, len(opened.labels.names), 40).repeat(2).tolist()
        assert spell(path, opened.labels).split() == their_text(checkpoint, path).split()


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", LAYOUTS, indirect=True)
def test_layout_is_exported(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Parity, inspect, selftest."""
    language = stored(FOLDER / checkpoint.name).get("language")
    options = [] if language is None else ["--language", language]
    bundle = str(tmp_path / "bundle")
    assert main(["export", str(checkpoint), bundle, *options]) == 0, capsys.readouterr().err
    assert main(["inspect", bundle, "--verify"]) == 0
    assert main(["selftest", bundle, "--engine", "onnxruntime"]) == 0, capsys.readouterr()
