"""Checkpoints that cannot be exported: one line that says what and what to do, exit code 2, nothing written."""

from __future__ import annotations

import fnmatch
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wav2edge.cli import main
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.families import FAMILIES, HEADS, Family
from wav2edge.export.hub import download
from wav2edge.runtime.errors import CheckpointError


@pytest.fixture
def checkpoint(layer_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(layer_checkpoint, tmp_path / "checkpoint"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(checkpoint: Path | str, destination: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run the command; returns the one line on stderr that says why it refused."""
    assert main(["export", str(checkpoint), str(destination), *options]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1, lines
    assert not destination.exists()
    assert list(destination.parent.glob(".*")) == []
    return lines[0]


def test_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(tmp_path / "nowhere", tmp_path / "out", capsys)
    assert "no such directory" in line


def test_directory_without_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refusal(tmp_path / "empty", tmp_path / "out", capsys)


def test_file_instead_of_directory(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a directory, this is a file" in refusal(checkpoint / "config.json", tmp_path / "out", capsys)


def test_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="did not give it"):
        download("someone/some-model")


@pytest.mark.parametrize(
    ("repository", "taken"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["adapter_config.json", "adapter_model.bin"], ["adapter_config.json", "adapter_model.bin"]),
        (["adapter_model.safetensors", "adapter_model.bin"], ["adapter_model.safetensors"]),
        (["model.fp16.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["adapter.fra.safetensors", "pytorch_model.bin"], ["adapter.fra.safetensors", "pytorch_model.bin"]),
        (["onnx/model.onnx", "onnx/model.onnx.data"], ["onnx/model.onnx", "onnx/model.onnx.data"]),
        (["model-00001-of-00002.safetensors", "model.onnx"], ["model-00001-of-00002.safetensors"]),
    ],
    ids=str,
)
def test_what_is_downloaded_is_what_a_directory_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: list[str], taken: list[str]
) -> None:
    """An adapter saved as a pickle was called one without its weights, and large weights beside ONNX were left out."""
    import huggingface_hub

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        for file in (file for file in repository if any(fnmatch.fnmatchcase(file, each) for each in allow_patterns)):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = download("someone/some-model", language="fra")
    assert sorted(str(file.relative_to(found)) for file in found.rglob("*") if file.is_file()) == taken


@pytest.mark.parametrize(
    ("repository", "reason"),
    [
        (["model.nemo", "README.md"], r"the repository has no config\.json; model\.nemo is a NeMo model"),
        (["dict.ltr.txt", "best.pt"], r"no config\.json; dict\.ltr\.txt is a fairseq directory; name its \.pt file"),
        (["config.json", "a.ckpt", "b.ckpt"], r"no weights under a name that is read .*; a\.ckpt is a training"),
        (["config.json", "lm/5gram.bin"], r"no weights under a name that is read .*; lm/5gram\.bin is weights without"),
        (["config.json", "optimizer.pt", "wav2vec2.ckpt"], None),
        (["config.json", "README.md"], None),
    ],
    ids=str,
)
def test_a_repository_of_another_tool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: list[str], reason: str | None
) -> None:
    """Only an empty folder of the cache was named: its files are of names that are not downloaded."""
    import huggingface_hub

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        for file in (file for file in repository if any(fnmatch.fnmatchcase(file, each) for each in allow_patterns)):
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, name, revision: repository)
    if reason is None:
        held = {file.name for file in download("someone/some-model").iterdir()}
        assert held == {"config.json", "wav2vec2.ckpt"} & set(repository)
        return
    with pytest.raises(CheckpointError, match=reason):
        download("someone/some-model")


def test_other_family(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(checkpoint / "config.json", model_type="whisper")
    assert "'whisper' is not of this family" in refusal(checkpoint, tmp_path / "out", capsys)


def test_pre_trained_without_head(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(checkpoint / "config.json", architectures=["Wav2Vec2ForPreTraining"])
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert "fine-tune it first" in line and 'or write "Wav2Vec2Model" there' in line


def test_network_of_a_pre_trained_model(make_checkpoint: Callable[..., Path]) -> None:
    """What the refusal says works: the quantiser and its projections are left out."""
    sizes = {"num_codevectors_per_group": 8, "codevector_dim": 16, "proj_codevector_dim": 16}
    folder = make_checkpoint(head="ForPreTraining", **sizes)
    edit_json(folder / "config.json", architectures=["Wav2Vec2Model"])
    assert type(Checkpoint.open(folder).load()).__name__ == "Wav2Vec2Model"


def test_no_class_is_named(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(checkpoint / "config.json", architectures=None)
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert "names nothing" in line and "write there, in brackets, the class that it was trained as" in line


def test_weights_of_another_head(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(checkpoint / "config.json", architectures=["Wav2Vec2ForSequenceClassification"])
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert "weights are missing, such as projector" in line


def test_no_vocabulary(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "vocab.json").unlink()
    assert "no vocab.json" in refusal(checkpoint, tmp_path / "out", capsys)


@pytest.mark.parametrize("size", [31, 33])
def test_vocabulary_of_another_size(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    labels = ["<pad>", "|", *(f"x{index}" for index in range(size - 2))]
    (checkpoint / "vocab.json").write_text(json.dumps({label: index for index, label in enumerate(labels)}))
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert f"{size} labels" in line and "has 32" in line


def test_vocabulary_with_a_gap(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = json.loads((checkpoint / "vocab.json").read_text())
    labels["z"] = 40
    (checkpoint / "vocab.json").write_text(json.dumps(labels))
    assert "another checkpoint" in refusal(checkpoint, tmp_path / "out", capsys)


def test_blank_that_config_and_tokenizer_dispute(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Decoding with the wrong blank turns every transcript to garbage, so nothing is guessed."""
    edit_json(checkpoint / "config.json", pad_token_id=5)
    assert "CTC's blank is label 5" in refusal(checkpoint, tmp_path / "out", capsys)


def test_no_preprocessing(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "preprocessor_config.json").unlink()
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert "--normalize yes" in line and "--normalize no" in line
    assert Checkpoint.open(checkpoint, normalize=False).normalize is False
    assert Checkpoint.open(checkpoint, normalize=True).normalize is True


def test_preprocessing_inside_processor_config(checkpoint: Path) -> None:
    """Transformers 5 writes the feature extractor's settings there."""
    (checkpoint / "preprocessor_config.json").unlink()
    nested = {"feature_extractor": {"do_normalize": False, "sampling_rate": 8000}}
    (checkpoint / "processor_config.json").write_text(json.dumps(nested))
    found = Checkpoint.open(checkpoint)
    assert (found.normalize, found.sample_rate) == (False, 8000)


@pytest.mark.parametrize("size", [0, 5, 4096, -1000])
def test_truncated_safetensors(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int) -> None:
    weights = checkpoint / "model.safetensors"
    os.truncate(weights, size if size >= 0 else weights.stat().st_size + size)
    assert "truncated or damaged" in refusal(checkpoint, tmp_path / "out", capsys)


def test_no_weights(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors").unlink()
    assert "no weights" in refusal(checkpoint, tmp_path / "out", capsys)


def test_weights_of_another_shape(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(checkpoint / "config.json", intermediate_size=64)
    assert "config.json asks for" in refusal(checkpoint, tmp_path / "out", capsys)


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_that_are_no_floats(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: torch.dtype
) -> None:
    """Integers were taken as if they were the weights, complex numbers without their imaginary part."""
    weights = load_file(checkpoint / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.weight"))
    torch.save({**weights, name: weights[name].to(dtype)}, checkpoint / "pytorch_model.bin")
    (checkpoint / "model.safetensors").unlink()
    said = refusal(checkpoint, tmp_path / "out", capsys)
    assert f"q_proj.weight holds {str(dtype).removeprefix('torch.')}, not floating-point numbers" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_that_are_not_finite(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    """The parity gate refused them at the end, as a difference of infinity at every point."""
    weights = load_file(checkpoint / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.weight"))
    weights[name] = weights[name].double()
    weights[name][3, 5] = value
    save_file(weights, checkpoint / "model.safetensors")
    said = refusal(checkpoint, tmp_path / "out", capsys)
    assert f"weight {name} has 1 of 1024 values that are NaN or infinite" in said


def test_weights_whose_sum_is_not_finite(checkpoint: Path) -> None:
    """Large numbers are none that are damaged; neither is the vector that masks frames in training."""
    weights = load_file(checkpoint / "model.safetensors")
    weights["lm_head.weight"][:2] = 3e38
    mask = weights["wav2vec2.masked_spec_embed"] = torch.full((32,), float("nan"))
    save_file(weights, checkpoint / "model.safetensors")
    found = Checkpoint.open(checkpoint).load().state_dict()
    assert torch.equal(found["lm_head.weight"], weights["lm_head.weight"])
    assert found["wav2vec2.masked_spec_embed"].shape == mask.shape


def test_configuration_that_describes_no_model(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_json(checkpoint / "config.json", num_attention_heads=7)
    assert "config.json describes no model" in refusal(checkpoint, tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("hidden_size", "large", "hidden_size"),
        ("num_attention_heads", 0, "zero"),
        ("hidden_act", None, ""),
        ("conv_dim", None, ""),
        ("vocab_size", None, "vocab_size is None"),
    ],
)
def test_configuration_with_a_value_that_makes_no_sense(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: object, reason: str
) -> None:
    """Transformers, torch and the hub's client each refuse in a class of their own; here it is one line."""
    edit_json(checkpoint / "config.json", **{key: value})
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert "config.json" in line and reason in line


@pytest.mark.parametrize("family", ["hubert", "unispeech"])
def test_head_that_transformers_does_not_have(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    name = {"hubert": "HubertForXVector", "unispeech": "UniSpeechForXVector"}[family]
    edit_json(checkpoint / "config.json", model_type=family, architectures=[name])
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert f"config.json names {name}" in line and line.count("ForXVector") == 1


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_every_head_that_is_offered_exists(family: Family) -> None:
    import transformers

    for head in HEADS:
        assert hasattr(transformers, family.classes + head.suffix) is (head in family.heads)


class Bomb:
    """A pickle that would write a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickle_that_would_run_code(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"weight": Bomb(tmp_path / "it-ran")}, checkpoint / "pytorch_model.bin")
    assert "would run code" in refusal(checkpoint, tmp_path / "out", capsys)
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    refusal(checkpoint, tmp_path / "out", capsys)
    assert not (tmp_path / "it-ran").exists()


def test_legacy_pickle_gives_the_same_model(checkpoint: Path) -> None:
    """Old checkpoints are pickles, and store the positional convolution's weight norm as weight_g and weight_v."""
    expected = Checkpoint.open(checkpoint).load().state_dict()
    state = load_file(checkpoint / "model.safetensors")
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = next(key for key in state if key.endswith(f"parametrizations.weight.{new}"))
        state[name.replace(f"parametrizations.weight.{new}", old)] = state.pop(name)
    (checkpoint / "model.safetensors").unlink()
    torch.save(state, checkpoint / "pytorch_model.bin")
    found = Checkpoint.open(checkpoint).load().state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_sharded_weights(checkpoint: Path) -> None:
    expected = Checkpoint.open(checkpoint).load().state_dict()
    state = load_file(checkpoint / "model.safetensors")
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, checkpoint / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    opened = Checkpoint.open(checkpoint)
    assert len(opened.weights) == 2
    found = opened.load().state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        Checkpoint.open(checkpoint)
    nonsense = {"weight_map": {"a": ["no", "name"], "b": 1}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(nonsense))
    with pytest.raises(CheckpointError, match="missing"):
        Checkpoint.open(checkpoint)


# Of a pickle's machine: an empty stack, a mark that is not there, a name of no module, text that is no number.
@pytest.mark.parametrize("content", [b"garbage" * 99, b"\x80\x02.", b"0", b"\x80\x02R.", b"(lp0\nIx\n.", bytes(64)])
def test_weights_that_are_garbage(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(content)
    assert "damaged" in refusal(checkpoint, tmp_path / "out", capsys)


def test_weights_without_names(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({1: torch.zeros(2)}, checkpoint / "pytorch_model.bin")
    assert "no dictionary of tensors" in refusal(checkpoint, tmp_path / "out", capsys)


@pytest.mark.parametrize("rate", [None, "16 kHz", 0, 500, float("nan"), [16000]])
def test_sampling_rate_that_is_none(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: object
) -> None:
    """One below those of a bundle was refused after the whole export, by the name of a temporary file."""
    edit_json(checkpoint / "preprocessor_config.json", sampling_rate=rate)
    assert "sampling_rate is" in refusal(checkpoint, tmp_path / "out", capsys)


def test_nested_vocabulary_of_one_language(checkpoint: Path, layer_checkpoint: Path) -> None:
    """What fine-tuning MMS saves: the vocabulary under its language's code, and the tokenizer names it."""
    flat = json.loads((layer_checkpoint / "vocab.json").read_text())
    (checkpoint / "vocab.json").write_text(json.dumps({"tur": flat}))
    edit_json(checkpoint / "tokenizer_config.json", target_lang="tur")
    found = Checkpoint.open(checkpoint).labels
    assert found.language == "tur" and found.names == Checkpoint.open(layer_checkpoint).labels.names


def test_nested_vocabulary_is_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "vocab.json").write_text(json.dumps({"eng": {"<pad>": 0}, "fra": {"<pad>": 0}}))
    line = refusal(checkpoint, tmp_path / "out", capsys)
    assert "2 languages" in line and "--language" in line
    assert "no vocabulary for 'deu'; it has eng, fra" in refusal(
        checkpoint, tmp_path / "out", capsys, "--language", "deu"
    )


def test_destination_that_exists(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    assert main(["export", str(checkpoint), str(tmp_path / "out")]) == 2
    assert main(["export", str(checkpoint), str(tmp_path / "out"), "--overwrite"]) == 2
    assert "exists and is not a wav2edge bundle" in capsys.readouterr().err
    assert (tmp_path / "out" / "precious.txt").read_text() == "mine"


def test_destination_that_cannot_be_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["export", str(checkpoint), str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err
