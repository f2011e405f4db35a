"""Adapters of PEFT and weight files of fairseq and torchaudio: the same model as transformers' own directory."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wav2edge.cli import main
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.foreign import foreign_config
from wav2edge.runtime.errors import CheckpointError

State = dict[str, Tensor]
LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
SHAPE: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 128,
    "num_attention_heads": 2,
    "num_conv_pos_embedding_groups": 16,
}


def fairseq_names(state: State) -> State:
    """As fairseq names the weights of a fine-tuned model; its first convolution has the norm at 2, or inside 2.1."""
    layers = any(name.endswith("conv_layers.1.layer_norm.weight") for name in state)
    rules = (
        (r"^lm_head\.", "w2v_encoder.proj."),
        (r"^wav2vec2\.feature_projection\.projection\.", "wav2vec2.post_extract_proj."),
        (r"^wav2vec2\.feature_projection\.layer_norm\.", "wav2vec2.layer_norm."),
        (r"\.masked_spec_embed$", ".mask_emb"),
        (r"conv_layers\.(\d)\.conv\.", r"conv_layers.\1.0."),
        (r"conv_layers\.(\d)\.layer_norm\.", r"conv_layers.\1.2.1." if layers else r"conv_layers.\1.2."),
        (r"\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", ".pos_conv.0.weight_g"),
        (r"\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", ".pos_conv.0.weight_v"),
        (r"\.pos_conv_embed\.conv\.", ".pos_conv.0."),
        (r"layers\.(\d)\.layer_norm\.", r"layers.\1.self_attn_layer_norm."),
        (r"\.attention\.", ".self_attn."),
        (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
        (r"\.feed_forward\.output_dense\.", ".fc2."),
        (r"^wav2vec2\.", "w2v_encoder.w2v_model."),
    )
    return renamed(state, rules)


def torchaudio_names(state: State) -> State:
    rules = (
        (r"^lm_head\.", "aux."),
        (r"^wav2vec2\.feature_extractor\.", "feature_extractor."),
        (r"^wav2vec2\.feature_projection\.", "encoder.feature_projection."),
        (r"^wav2vec2\.encoder\.", "encoder.transformer."),
    )
    return {name: value for name, value in renamed(state, rules).items() if "masked_spec_embed" not in name}


def renamed(state: State, rules: tuple[tuple[str, str], ...]) -> State:
    result = {}
    for old, value in state.items():
        name = old
        for expression, replacement in rules:
            name = re.sub(expression, replacement, name)
        result[name] = value
    return result


def same_model(found: Any, expected: Any) -> None:
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if "masked_spec_embed" not in name)


@pytest.fixture(params=["layer", "group"])
def original(request: pytest.FixtureRequest, make_checkpoint: Callable[..., Path]) -> Path:
    layer = request.param == "layer"
    return make_checkpoint(
        **SHAPE,
        feat_extract_norm=request.param,
        do_stable_layer_norm=layer,
        conv_bias=layer,
        num_conv_pos_embeddings=16,
    )


def write_dictionary(folder: Path, letters: str = "|" + LETTERS) -> None:
    (folder / "dict.ltr.txt").write_text("".join(f"{letter} {100 - index}\n" for index, letter in enumerate(letters)))


def test_fairseq_file(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As published: settings in objects of classes that are not installed here, beside a dictionary."""
    state = load_file(original / "model.safetensors")
    module = types.ModuleType("not_installed_here")

    class DictConfig:
        """A stand-in that is gone again when the file is read."""

        def __init__(self, content: dict[str, object]) -> None:
            self._content = content

    DictConfig.__module__, DictConfig.__qualname__ = module.__name__, "DictConfig"
    module.DictConfig = DictConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    inner = argparse.Namespace(
        layer_norm_first="layer" in str(load_config(original)["feat_extract_norm"]), normalize=False
    )
    saved = {
        "args": inner,
        "cfg": DictConfig({"encoder_attention_heads": 2}),
        "model": fairseq_names(state),
        "extra": {"epoch": 3},
    }
    torch.save(saved, tmp_path / "checkpoint_best.pt")
    monkeypatch.delitem(sys.modules, module.__name__)
    write_dictionary(tmp_path)
    found = Checkpoint.open(tmp_path / "checkpoint_best.pt")
    same_model(found.load(), Checkpoint.open(original).load())
    assert found.labels.names == ("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS)
    assert (found.labels.blank, found.labels.delimiter, found.labels.silent) == (0, "|", ("<s>", "</s>", "<unk>"))
    assert found.normalize is False
    assert Checkpoint.open(tmp_path / "checkpoint_best.pt", normalize=True).normalize is True


def test_the_activation_of_a_fairseq_file(original: Path, tmp_path: Path) -> None:
    """Parity cannot see it: the reference is built from the same settings."""
    write_dictionary(tmp_path)
    for name, expected in ((None, "gelu"), ("relu", "relu"), ("gelu_accurate", "gelu_new"), ("sine", None)):
        settings = {"encoder_attention_heads": 2, "normalize": False, **({"activation_fn": name} if name else {})}
        model = fairseq_names(load_file(original / "model.safetensors"))
        torch.save({"cfg": {"model": settings}, "model": model}, tmp_path / "checkpoint_best.pt")
        if expected is None:
            with pytest.raises(CheckpointError, match="activation_fn is sine; wav2edge knows gelu, relu"):
                Checkpoint.open(tmp_path / "checkpoint_best.pt")
        else:
            assert Checkpoint.open(tmp_path / "checkpoint_best.pt").load().config.hidden_act == expected


def load_config(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return values


def test_torchaudio_file(original: Path, tmp_path: Path) -> None:
    torch.save(torchaudio_names(load_file(original / "model.safetensors")), tmp_path / "asr.pth")
    with pytest.raises(CheckpointError, match=r"no vocab\.json; .*vocab=FILE"):
        Checkpoint.open(tmp_path / "asr.pth")
    write_dictionary(tmp_path)
    found = Checkpoint.open(tmp_path / "asr.pth", vocab=tmp_path / "dict.ltr.txt")
    same_model(found.load(), Checkpoint.open(original).load())
    assert found.normalize is (load_config(original)["feat_extract_norm"] == "layer")


def test_dictionary_of_another_model(original: Path, tmp_path: Path) -> None:
    torch.save(torchaudio_names(load_file(original / "model.safetensors")), tmp_path / "asr.pth")
    write_dictionary(tmp_path, "|AB")
    with pytest.raises(CheckpointError, match=r"7 labels .* the output layer has 32"):
        Checkpoint.open(tmp_path / "asr.pth")


class Bomb:
    """A pickle that would make a folder where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_foreign_file_runs(tmp_path: Path) -> None:
    torch.save({"cfg": Bomb(tmp_path / "it-ran"), "model": {}}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError):
        Checkpoint.open(tmp_path / "bad.pt")
    (tmp_path / "bad.pt").write_bytes(b"cos\nsystem\n(S'touch it-ran'\ntR.")
    with pytest.raises(CheckpointError):
        Checkpoint.open(tmp_path / "bad.pt")
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"PK\x03\x04" + bytes(60)])
def test_foreign_files_that_are_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(CheckpointError):
        Checkpoint.open(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"conv_feature_layers": "[(32, 10, 999999999)] + [(32, 3, 2)] * 4 + [(32, 2, 2)] * 2"}, "conv_stride is"),
        ({"encoder_attention_heads": 10**12}, "num_attention_heads is"),
    ],
)
def test_sizes_in_a_fairseq_file_are_bounded(
    original: Path, tmp_path: Path, settings: dict[str, object], says: str
) -> None:
    state = fairseq_names(load_file(original / "model.safetensors"))
    torch.save({"cfg": settings, "model": state}, tmp_path / "checkpoint_best.pt")
    write_dictionary(tmp_path)
    with pytest.raises(CheckpointError, match=says):
        Checkpoint.open(tmp_path / "checkpoint_best.pt")


def test_strides_without_end_are_refused(original: Path, tmp_path: Path) -> None:
    """A list of 10^12 strides was made before it was compared with the layers."""
    state = fairseq_names(load_file(original / "model.safetensors"))
    settings = {"conv_feature_layers": "[(32, 10, 5)] * 999999999999", "layer_norm_first": True}
    torch.save({"cfg": settings, "model": state}, tmp_path / "checkpoint_best.pt")
    write_dictionary(tmp_path)
    with pytest.raises(CheckpointError, match=r"checkpoint_best\.pt: the file states conv_feature_layers as '\[\(32"):
        Checkpoint.open(tmp_path / "checkpoint_best.pt")


@pytest.mark.parametrize(
    ("kernels", "stated", "strides"),
    [
        ((10, 3, 3, 3, 3, 2, 2), None, [5, 2, 2, 2, 2, 2, 2]),
        ((10, 3, 3), "[(512, 10, 5), (512, 3, 2)] + [(512, 3, 4)]", [5, 2, 4]),
        ((10, 8, 4), None, "has no conv_feature_layers"),
        ((10, 3, 3, 3, 3, 2, 2), "[(512, 10, 5)] + 6 * [(512, 3, 1)]", "states conv_feature_layers as"),
    ],
)
def test_strides_that_a_file_does_not_state(
    kernels: tuple[int, ...], stated: str | None, strides: list[int] | str
) -> None:
    """Those of the published models were taken for any other: the wrong model, which parity confirmed."""
    settings = {} if stated is None else {"conv_feature_layers": stated}
    if isinstance(strides, list):
        assert foreign_config(Path("a.pt"), shapes(64, kernels), settings)["conv_stride"] == strides  # type: ignore[typeddict-item]
        return
    with pytest.raises(CheckpointError, match=f"^a.pt: the file {strides}"):
        foreign_config(Path("a.pt"), shapes(64, kernels), settings)


def test_attention_heads_that_a_file_does_not_state() -> None:
    """XLS-R of 10^9 weights has 16 heads of 80; 20 of 64 were taken, and parity confirmed it."""
    found = {}
    for width in (768, 1024, 1280, 1920):
        config = foreign_config(Path("a.pt"), shapes(width), {})
        found[width] = config["num_attention_heads"]  # type: ignore[typeddict-item]
    assert found == {768: 12, 1024: 16, 1280: 16, 1920: 16}
    with pytest.raises(CheckpointError, match=r"^a\.pt: the file does not state its attention heads.* is 96 wide"):
        foreign_config(Path("a.pt"), shapes(96), {})
    stated = foreign_config(Path("a.pt"), shapes(96), {"encoder_attention_heads": 3})
    assert stated["num_attention_heads"] == 3  # type: ignore[typeddict-item]


def shapes(width: int, kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)) -> State:
    """What a configuration is made from: weights without values."""
    sizes: dict[str, tuple[int, ...]] = {
        f"feature_extractor.conv_layers.{i}.conv.weight": (512, 512, kernel) for i, kernel in enumerate(kernels)
    }
    sizes["encoder.pos_conv_embed.conv.weight_v"] = (width, width // 16, 128)
    sizes["feature_projection.projection.weight"] = (width, 512)
    sizes["encoder.layers.0.feed_forward.intermediate_dense.weight"] = (4 * width, width)
    weights = {f"wav2vec2.{name}": torch.empty(size, device="meta") for name, size in sizes.items()}
    return {**weights, "lm_head.weight": torch.empty((32, width), device="meta")}


def test_pre_trained_fairseq_file(tmp_path: Path) -> None:
    torch.save(
        {"args": None, "model": {"feature_extractor.conv_layers.0.0.weight": torch.zeros(2)}}, tmp_path / "pre.pt"
    )
    with pytest.raises(CheckpointError, match="a pre-trained model has no labels"):
        Checkpoint.open(tmp_path / "pre.pt")


def write_adapter(folder: Path, base: Path | str, state: State, **settings: object) -> None:
    folder.mkdir()
    named = {f"base_model.model.{name}": value for name, value in state.items()}
    save_file(named, folder / "adapter_model.safetensors")
    values = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 4, "lora_alpha": 8, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("settings", "scale"),
    [({}, 2.0), ({"use_rslora": True}, 4.0), ({"alpha_pattern": {"attention.q_proj": 2}}, 0.5)],
)
def test_lora_is_merged(layer_checkpoint: Path, tmp_path: Path, settings: dict[str, object], scale: float) -> None:
    torch.manual_seed(1)
    own = load_file(layer_checkpoint / "model.safetensors")
    layer = "wav2vec2.encoder.layers.1.attention.q_proj"
    a, b, head = torch.randn(4, 32), torch.randn(32, 4), torch.randn(32, 32)
    state = {f"{layer}.lora_A.weight": a, f"{layer}.lora_B.weight": b, "lm_head.weight": head}
    write_adapter(tmp_path / "adapter", layer_checkpoint, state, **settings)
    checkpoint = Checkpoint.open(tmp_path / "adapter")
    found = checkpoint.load().state_dict()
    torch.testing.assert_close(found[f"{layer}.weight"], own[f"{layer}.weight"] + scale * b @ a)
    assert torch.equal(found["lm_head.weight"], head)
    same = [name for name in own if name not in (f"{layer}.weight", "lm_head.weight")]
    assert all(torch.equal(found[name], own[name]) for name in same)
    assert checkpoint.digest() != Checkpoint.open(layer_checkpoint).digest()


def test_an_adapter_that_is_a_pickle(layer_checkpoint: Path, tmp_path: Path) -> None:
    """It gives the weights of the same adapter in safetensors; one that would run code is not loaded."""
    layer = "wav2vec2.encoder.layers.1.attention.q_proj"
    state = {f"{layer}.lora_A.weight": torch.randn(4, 32), f"{layer}.lora_B.weight": torch.randn(32, 4)}
    for name in ("safe", "pickle", "unsafe"):
        write_adapter(tmp_path / name, layer_checkpoint, state)
    named = load_file(tmp_path / "pickle/adapter_model.safetensors")
    for name, saved in (("pickle", named), ("unsafe", {**named, "run": Path("x")})):
        (tmp_path / name / "adapter_model.safetensors").unlink()
        torch.save(saved, tmp_path / name / "adapter_model.bin")
    found = Checkpoint.open(tmp_path / "pickle").load().state_dict()
    expected = Checkpoint.open(tmp_path / "safe").load().state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    with pytest.raises(CheckpointError, match="this pickle would run code"):
        Checkpoint.open(tmp_path / "unsafe").load()


def test_the_base_of_an_adapter_is_of_the_revision_that_it_names(
    layer_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter's own revision was asked of the base, and the base's was ignored."""
    from wav2edge.export import hub

    asked: list[tuple[str, str | None]] = []

    def download(name: str, revision: str | None, language: str | None) -> Path:
        asked.append((name, revision))
        return tmp_path / "adapter" if name == "org/adapter" else layer_checkpoint

    monkeypatch.setattr(hub, "download", download)
    layer = "wav2vec2.encoder.layers.1.attention.q_proj"
    state = {f"{layer}.lora_A.weight": torch.ones(4, 32), f"{layer}.lora_B.weight": torch.ones(32, 4)}
    write_adapter(tmp_path / "adapter", "org/base", state, revision="0123abc")
    Checkpoint.open("org/adapter", revision="v2").load()
    assert asked == [("org/adapter", "v2"), ("org/base", "0123abc")]


A, B = torch.ones(4, 32), torch.ones(32, 4)


@pytest.mark.parametrize(
    ("matrices", "reason"),
    [
        ({"lora_A.weight": A, "lora_B.weight": torch.ones(32, 3)}, "no such linear layer of that shape"),
        ({"lora_A.weight": torch.ones(4, 31), "lora_B.weight": B}, "no such linear layer of that shape"),
        (
            {"lora_A.weight": torch.ones(0, 32), "lora_B.weight": torch.ones(32, 0)},
            "no such linear layer of that shape",
        ),
        ({"lora_A.weight": A, "lora_B.weight": B[0]}, "no such linear layer of that shape"),
        ({"lora_B.weight": B}, "no such linear layer of that shape"),
        ({"lora_A.weight": A, "lora_B.weight": B, "lora_magnitude_vector": torch.ones(3)}, "of that shape"),
        (
            {f"lora_{m}.{n}.weight": t.clone() for n in ("one", "two") for m, t in (("A", A), ("B", B))},
            "several adapters",
        ),
    ],
)
def test_matrices_that_fit_no_layer(layer_checkpoint: Path, tmp_path: Path, matrices: State, reason: str) -> None:
    """Shapes ended in tracebacks; a lone matrix, or the second of two adapters, was left out in silence."""
    layer = "wav2vec2.encoder.layers.1.attention.q_proj"
    write_adapter(
        tmp_path / "adapter", layer_checkpoint, {f"{layer}.{name}": value for name, value in matrices.items()}
    )
    with pytest.raises(CheckpointError, match=reason):
        Checkpoint.open(tmp_path / "adapter").load()


@pytest.mark.parametrize("pattern", ["(", "(.*)*", "(a+)+b", ".*.*.*x", "x" * 300])
def test_expressions_of_unknown_origin(layer_checkpoint: Path, tmp_path: Path, pattern: str) -> None:
    layer = "wav2vec2.encoder.layers.1.attention.q_proj"
    state = {f"{layer}.lora_A.weight": A, f"{layer}.lora_B.weight": B}
    write_adapter(tmp_path / "adapter", layer_checkpoint, state, alpha_pattern={pattern: 2})
    with pytest.raises(CheckpointError, match="alpha_pattern"):
        Checkpoint.open(tmp_path / "adapter").load()


def test_lora_with_a_new_vocabulary_on_a_pre_trained_model(layer_checkpoint: Path, tmp_path: Path) -> None:
    """The usual recipe: the base has no head, or one of another size; the adapter's directory has the vocabulary."""
    base = Path(shutil.copytree(layer_checkpoint, tmp_path / "base"))
    config = {**load_config(base), "architectures": ["Wav2Vec2ForPreTraining"], "vocab_size": 32, "pad_token_id": 0}
    (base / "config.json").write_text(json.dumps(config))
    state = load_file(base / "model.safetensors")
    kept = {name: value for name, value in state.items() if not name.startswith("lm_head")}
    save_file({**kept, "quantizer.weight_proj.bias": torch.zeros(3)}, base / "model.safetensors")
    (base / "vocab.json").unlink()
    head = {"lm_head.weight": torch.randn(5, 32), "lm_head.bias": torch.zeros(5)}
    write_adapter(tmp_path / "adapter", base, head)
    (tmp_path / "adapter" / "vocab.json").write_text(json.dumps({"a": 0, "|": 1, "b": 2, "[UNK]": 3, "[PAD]": 4}))
    tokenizer = {"pad_token": "[PAD]", "unk_token": "[UNK]", "word_delimiter_token": "|"}
    (tmp_path / "adapter" / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (tmp_path / "adapter" / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    checkpoint = Checkpoint.open(tmp_path / "adapter")
    assert (checkpoint.head.name, checkpoint.labels.blank, len(checkpoint.labels.names)) == ("ctc", 4, 5)
    assert torch.equal(checkpoint.load().lm_head.weight, head["lm_head.weight"])


def pre_trained(folder: Path, core: str) -> Path:
    """A checkpoint without its head, its weights named as in a model that has one."""
    state = load_file(folder / "model.safetensors")
    save_file({f"{core}.{name}": value for name, value in state.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("adapted", ["with a head", "bare"])
@pytest.mark.parametrize("saved", ["with a head", "bare"])
@pytest.mark.parametrize(("classes", "core"), [("Wav2Vec2", "wav2vec2"), ("WavLM", "wavlm")])
def test_lora_where_one_of_the_two_is_without_a_head(
    make_checkpoint: Callable[..., Path], tmp_path: Path, classes: str, core: str, saved: str, adapted: str
) -> None:
    """The base model has the layer, with or without the network's name in front; it was said to have none."""
    base = make_checkpoint(classes=classes, head="Model")
    own = load_file(base / "model.safetensors")
    if saved == "with a head":
        pre_trained(base, core)
    layer, start = "encoder.layers.1.attention.q_proj", f"{core}." if adapted == "with a head" else ""
    state = {f"{start}{layer}.lora_A.weight": A, f"{start}{layer}.lora_B.weight": B}
    state[f"{start}feature_projection.projection.bias"] = torch.arange(32.0)
    named: dict[str, object] = {"auto_mapping": {"base_model_class": f"{classes}Model"}}
    if adapted == "with a head":
        state.update({"lm_head.weight": torch.randn(32, 32), "lm_head.bias": torch.zeros(32)})
        named = {}
        (base / "vocab.json").write_text(json.dumps({f"x{index}": index for index in range(31)} | {"<pad>": 31}))
    write_adapter(tmp_path / "adapter", base, state, **named)
    checkpoint = Checkpoint.open(tmp_path / "adapter")
    assert checkpoint.head.name == ("ctc" if adapted == "with a head" else "encoder")
    found = checkpoint.load().state_dict()
    torch.testing.assert_close(found[f"{start}{layer}.weight"], own[f"{layer}.weight"] + 2 * B @ A)
    assert torch.equal(found[f"{start}feature_projection.projection.bias"], torch.arange(32.0))
    assert torch.equal(found[f"{start}{layer}.bias"], own[f"{layer}.bias"])


CLASSIFIERS: dict[str, State] = {
    "ForSequenceClassification": {
        "classifier.weight": torch.randn(5, 24),
        "classifier.bias": torch.zeros(5),
        "projector.weight": torch.randn(24, 32),
        "projector.bias": torch.zeros(24),
    },
    "ForAudioFrameClassification": {"classifier.weight": torch.randn(5, 32), "classifier.bias": torch.zeros(5)},
    "ForSpeechClassification": {
        "classifier.dense.weight": torch.randn(32, 32),
        "classifier.dense.bias": torch.zeros(32),
        "classifier.out_proj.weight": torch.randn(5, 32),
        "classifier.out_proj.bias": torch.zeros(5),
    },
}


@pytest.mark.parametrize("suffix", CLASSIFIERS)
def test_lora_of_a_classifier(make_checkpoint: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    """Labels were counted in the base model's config.json, which knows nothing of those of the adapter."""
    state = CLASSIFIERS[suffix]
    base = pre_trained(make_checkpoint(head="Model"), "wav2vec2")
    named = {"base_model_class": f"Wav2Vec2{suffix}"} if suffix != "ForSequenceClassification" else None
    write_adapter(tmp_path / "adapter", base, state, auto_mapping=named)
    checkpoint = Checkpoint.open(tmp_path / "adapter")
    assert checkpoint.labels.names == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
    found = checkpoint.load().state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    for labels, kept in ((["a", "b", "c"], False), (["a", "b", "c", "d", "e"], True)):
        names = {str(index): label for index, label in enumerate(labels)}
        (base / "config.json").write_text(json.dumps({**load_config(base), "id2label": names}))
        assert (Checkpoint.open(tmp_path / "adapter").labels.names == tuple(labels)) is kept


def test_lora_of_a_model_of_speakers(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The number of speakers in training is in the loss alone; the classifier gives embeddings."""
    base = make_checkpoint(head="ForXVector", num_labels=3)
    state = load_file(base / "model.safetensors")
    head = {"objective.weight": torch.randn(state["objective.weight"].shape[0], 7)}
    head["classifier.weight"] = state["classifier.weight"] * 2
    write_adapter(tmp_path / "adapter", base, head)
    found = Checkpoint.open(tmp_path / "adapter").load().state_dict()
    assert torch.equal(found["classifier.weight"], head["classifier.weight"])


def test_adapters_that_cannot_be_merged(layer_checkpoint: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "ia3", layer_checkpoint, {"x": torch.zeros(1)}, peft_type="IA3")
    with pytest.raises(CheckpointError, match=r"of the kind IA3.*merge_and_unload"):
        Checkpoint.open(tmp_path / "ia3")
    state = {"wav2vec2.nowhere.lora_A.weight": torch.zeros(4, 32), "wav2vec2.nowhere.lora_B.weight": torch.zeros(32, 4)}
    write_adapter(tmp_path / "other", layer_checkpoint, state)
    with pytest.raises(CheckpointError, match="no such linear layer"):
        Checkpoint.open(tmp_path / "other").load()
    write_adapter(tmp_path / "changed", layer_checkpoint, state, init_lora_weights="pissa_niter_4")
    with pytest.raises(CheckpointError, match="changed weights of its base model"):
        Checkpoint.open(tmp_path / "changed")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(CheckpointError, match="PEFT adapter without its weights"):
        Checkpoint.open(tmp_path / "bare")


@pytest.mark.slow
def test_export_of_a_fairseq_file(original: Path, tmp_path: Path) -> None:
    saved = {
        "args": argparse.Namespace(normalize=True),
        "model": fairseq_names(load_file(original / "model.safetensors")),
    }
    torch.save(saved, tmp_path / "best.pt")
    write_dictionary(tmp_path)
    assert main(["export", str(tmp_path / "best.pt"), str(tmp_path / "bundle")]) == 0
