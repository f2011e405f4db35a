"""Weights under other names are understood or explained; none is left out, or made up, in silence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wav2edge.cli import main
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.runtime.errors import CheckpointError

State = dict[str, Tensor]


@pytest.fixture
def checkpoint(layer_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(layer_checkpoint, tmp_path / "checkpoint"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lora_beside(state: State) -> State:
    """Loralib's names: the matrices beside the weight that they change."""
    more = {}
    for name in [name for name in state if name.endswith("q_proj.weight")]:
        more[name.replace("weight", "lora_A")] = torch.randn(4, 32)
        more[name.replace("weight", "lora_B")] = torch.randn(32, 4)
    return {**state, **more}


def peft_unmerged(state: State) -> State:
    """What PEFT's wrapped model saves before merge_and_unload."""
    changed = {}
    for name, value in state.items():
        stem, ours = name.removesuffix("weight"), name.endswith("q_proj.weight")
        changed[f"{stem}base_layer.weight" if ours else name] = value
        if ours:
            changed[f"{stem}lora_A.default.weight"] = torch.randn(4, 32)
            changed[f"{stem}lora_B.default.weight"] = torch.randn(32, 4)
    return changed


UNDERSTOOD: dict[str, Callable[[State], object]] = {
    "DistributedDataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "torch.compile": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "both": lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
    "compiled layers": lambda state: {
        name.replace("encoder.", "encoder._orig_mod."): value for name, value in state.items()
    },
    "Lightning": lambda state: {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "epoch": 3,
        "hyper_parameters": {"rate": 1e-4},
    },
    "Lightning, attribute of another name, compiled": lambda state: {
        "state_dict": {f"net.asr._orig_mod.{name}": value for name, value in state.items()}
    },
    "a training loop": lambda state: {"model": state, "optimizer": {"step": 7}},
    "pre-training's quantiser beside the model": lambda state: {**state, "quantizer.codevectors": torch.zeros(1, 4, 8)},
}


def two_copies(state: State, trained: str, other: str) -> State:
    """A file with the trained model and another copy, whose weights were exported in place of the trained ones."""
    averaged = {f"{other}{name}": value * 0 for name, value in state.items()}
    return {**{f"{trained}{name}": value for name, value in state.items()}, **averaged}


def test_a_second_copy_that_is_ignored_changes_nothing(checkpoint: Path) -> None:
    expected = Checkpoint.open(checkpoint).load().state_dict()
    state = load_file(checkpoint / "model.safetensors")
    save_file(two_copies(state, "model.", "ema_model."), checkpoint / "model.safetensors")
    found = Checkpoint.open(checkpoint, ignore_weights=["ema_model.*"]).load().state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_wrappers_are_taken_off(checkpoint: Path, name: str) -> None:
    expected = Checkpoint.open(checkpoint).load().state_dict()
    changed = UNDERSTOOD[name](load_file(checkpoint / "model.safetensors"))
    (checkpoint / "model.safetensors").unlink()
    torch.save(changed, checkpoint / "pytorch_model.bin")
    found = Checkpoint.open(checkpoint).load().state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lora_beside, r"4 weights of the file are unused: .*q_proj\.lora_A.*q_proj\.lora_B; they are LoRA matrices"),
        (peft_unmerged, r"missing, such as .*q_proj\.weight; unused in the file: .*merge_and_unload"),
        (lambda s: {**s, "criterion.weight": torch.zeros(3)}, r"1 weights of the file are unused: criterion\.weight"),
        (lambda s: {**s, "classifier.weight": torch.zeros(3)}, r"of another head than config\.json"),
        (
            lambda s: two_copies(s, "model.", "ema_model."),
            r"two copies of the model, ema_model\.\* and model\.\*.* ignore_weights=.ema_model",
        ),
        (lambda s: two_copies(s, "", "ema."), r"weights of the file are unused: ema\."),
    ],
)
def test_left_over_weights_are_an_error_that_lists_them(
    checkpoint: Path, change: Callable[[State], State], reason: str
) -> None:
    save_file(change(load_file(checkpoint / "model.safetensors")), checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match=reason):
        Checkpoint.open(checkpoint).load()


def test_fewer_layers_than_the_file_holds(checkpoint: Path) -> None:
    """Parity cannot see it: the reference has the same layers missing."""
    edit_json(checkpoint / "config.json", num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"unused: wav2vec2\.encoder\.layers\.\*.*fewer layers"):
        Checkpoint.open(checkpoint).load()


def test_attention_adapters_that_config_does_not_name(
    make_checkpoint: Callable[..., Path], layer_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(make_checkpoint(adapter_attn_dim=16), tmp_path / "checkpoint"))
    edit_json(folder / "config.json", adapter_attn_dim=None)
    with pytest.raises(CheckpointError, match=r"config\.json sets no adapter_attn_dim"):
        Checkpoint.open(folder).load()


def test_unused_weights_may_be_ignored(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = load_file(checkpoint / "model.safetensors")
    save_file({**state, "criterion.weight": torch.zeros(3)}, checkpoint / "model.safetensors")
    assert main(["export", str(checkpoint), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "--ignore-weights criterion.weight" in error and "ignore_weights" not in error
    save_file({**state, "more.0.weight": torch.zeros(3)}, checkpoint / "model.safetensors")
    assert main(["export", str(checkpoint), str(tmp_path / "out")]) == 2
    assert "--ignore-weights 'more.*.weight'" in capsys.readouterr().err  # quoted for the shell
    save_file({**state, "criterion.weight": torch.zeros(3)}, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError):
        Checkpoint.open(checkpoint, ignore_weights=["head.*"]).load()
    found = Checkpoint.open(checkpoint, ignore_weights=["criterion.*"]).load().state_dict()
    assert torch.equal(found["lm_head.weight"], state["lm_head.weight"])


def beside(copies: dict[str, float]) -> Callable[[State], State]:
    """The model under several wrappers, its weights multiplied by a number of its own in each."""
    return lambda state: {f"{at}{name}": value * by for at, by in copies.items() for name, value in state.items()}


ADVISED: dict[str, tuple[Callable[[State], State], dict[str, object]]] = {
    "a moving average": (beside({"": 1, "ema.": 0}), {}),
    "a moving average, in a wrapper": (beside({"model.": 1, "model.ema.": 0}), {}),
    "three copies": (beside({"ema.": 0, "model.": 0, "trained.": 1}), {}),
    "two copies, in a wrapper": (beside({"outer.ema.": 0, "outer.model.": 1}), {}),
    "a head that the architecture has not": (lambda state: state, {"architectures": ["Wav2Vec2Model"]}),
    "more layers than config.json sets": (lambda state: state, {"num_hidden_layers": 1}),
    "a name of shell patterns": (lambda state: {**state, "*": torch.zeros(1), "a[0].?": torch.zeros(1)}, {}),
    "names that share a start with those of the model": (
        lambda state: {**state, **{f"wav2vec2.more_{i}.x": torch.zeros(1) for i in range(20)}},
        {},
    ),
}


@pytest.mark.parametrize("name", ADVISED)
def test_the_advice_to_ignore_weights_is_enough(checkpoint: Path, name: str) -> None:
    """It named the first of several patterns, one that fits no weight (``ema.lm_head.*.*``), or one that fits all."""
    change, config = ADVISED[name]
    edit_json(checkpoint / "config.json", **config)
    state = load_file(checkpoint / "model.safetensors")
    save_file(change(state), checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match="ignore_weights=") as refused:
        Checkpoint.open(checkpoint).load()
    patterns = re.findall(r"ignore_weights='([^']*)'", str(refused.value))
    assert "moving average" not in name or len(patterns) == 1
    found = Checkpoint.open(checkpoint, ignore_weights=patterns).load().state_dict()
    assert all(torch.equal(value, state[key if key in state else f"wav2vec2.{key}"]) for key, value in found.items())
    if len(patterns) == 1:
        Checkpoint.open(checkpoint, ignore_weights=patterns[0]).load()


def test_advice_that_would_be_endless_is_left_out(checkpoint: Path) -> None:
    state = load_file(checkpoint / "model.safetensors")
    save_file({**state, **{f"w{i}": torch.zeros(1) for i in range(60)}}, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"60 weights of the file are unused: w.*…; ") as refused:
        Checkpoint.open(checkpoint).load()
    assert "ignore_weights" not in str(refused.value)


def test_layers_of_an_adapter_are_not_those_of_the_encoder(make_checkpoint: Callable[..., Path]) -> None:
    """The error blamed num_hidden_layers."""
    folder = make_checkpoint(add_adapter=True, output_hidden_size=32, num_adapter_layers=2)
    edit_json(folder / "config.json", num_adapter_layers=1)
    with pytest.raises(CheckpointError, match="does not set add_adapter, or fewer layers of it"):
        Checkpoint.open(folder).load()
