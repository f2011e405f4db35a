"""The language chooses weights and vocabulary together, or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.languages import choose_language
from wav2edge.runtime.errors import CheckpointError

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "|"]
ALPHABETS = {"eng": "etaoinshrdlu", "rus": "аеиоунтсрвлк", "fra": "esaintruoléàçêè"}

ADAPTED = "wav2vec2.encoder.layers.1.attention.q_proj"
FILE = "adapter_model.safetensors"


@pytest.fixture
def mms(make_checkpoint: Callable[..., Path]) -> Path:
    """As mms-1b-all: English in the weights, Russian and French (with more letters) in adapter files."""
    folder = make_checkpoint(adapter_attn_dim=16, vocab_size=17)
    for code in ("rus", "fra"):
        other = make_checkpoint(adapter_attn_dim=16, vocab_size=5 + len(ALPHABETS[code]))
        state = load_file(other / "model.safetensors")
        kept = {name: value + 0.25 for name, value in state.items() if "adapter_layer" in name or "lm_head" in name}
        save_file(kept, folder / f"adapter.{code}.safetensors")
    write_vocabulary(folder, *ALPHABETS)
    return folder


def write_vocabulary(folder: Path, *codes: str, target: str | None = None) -> None:
    tables = {
        code: {label: i for i, label in enumerate([*SPECIAL, *ALPHABETS.get(code, "abcdefghijkl")])} for code in codes
    }
    (folder / "vocab.json").write_text(json.dumps(tables))
    settings = {"pad_token": "<pad>", "word_delimiter_token": "|", "target_lang": target}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_lora(folder: Path, base: Path, **weights: torch.Tensor) -> None:
    """A LoRA adapter that adds 4 to each weight of one layer, and brings some weights whole."""
    layer = f"base_model.model.{ADAPTED}"
    state = {f"{layer}.lora_A.weight": torch.ones(4, 32), f"{layer}.lora_B.weight": torch.ones(32, 4)}
    folder.mkdir()
    save_file({**state, **{f"base_model.model.{name}": value for name, value in weights.items()}}, folder / FILE)
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 4, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def test_adapter_and_vocabulary_come_together(mms: Path) -> None:
    """Faults 06 and 07: the weights of one language with the letters of another, or refused with the file there."""
    english = Checkpoint.open(mms, language="eng")
    french = Checkpoint.open(mms, language="fra")
    assert english.labels.names[5:] == tuple(ALPHABETS["eng"]) and english.labels.language == "eng"
    assert french.labels.names[5:] == tuple(ALPHABETS["fra"]) and french.labels.language == "fra"
    own, adapter = load_file(mms / "model.safetensors"), load_file(mms / "adapter.fra.safetensors")
    found = french.load().state_dict()
    for name, value in adapter.items():
        assert torch.equal(found[name], value), name
    same = [name for name in own if name not in adapter]
    assert same and all(torch.equal(found[name], own[name]) for name in same)
    assert torch.equal(english.load().state_dict()["lm_head.weight"], own["lm_head.weight"])
    assert french.digest() != english.digest()


@pytest.mark.parametrize("target", [None, "eng"])
def test_the_tokenizers_language_is_no_obstacle(mms: Path, target: str | None) -> None:
    write_vocabulary(mms, *ALPHABETS, target=target)
    assert Checkpoint.open(mms, language="rus").labels.adapter == mms / "adapter.rus.safetensors"


def test_language_without_weights_is_refused(mms: Path) -> None:
    write_vocabulary(mms, *ALPHABETS, "deu", target="eng")
    with pytest.raises(CheckpointError, match=r"weights are of 'eng'.* no adapter\.deu\.safetensors"):
        Checkpoint.open(mms, language="deu")
    write_vocabulary(mms, *ALPHABETS, "deu")
    for code in ("deu", "eng"):
        with pytest.raises(CheckpointError, match=rf"nothing says that its own weights are of '{code}'"):
            Checkpoint.open(mms, language=code)


def test_one_vocabulary_cannot_serve_another_language(mms: Path) -> None:
    table = {label: index for index, label in enumerate([*SPECIAL, *ALPHABETS["eng"]])}
    (mms / "vocab.json").write_text(json.dumps(table))
    with pytest.raises(CheckpointError, match="holds one vocabulary without a language"):
        Checkpoint.open(mms, language="rus")
    settings = {"pad_token": "<pad>", "word_delimiter_token": "|"}
    (mms / "tokenizer_config.json").write_text(json.dumps({**settings, "target_lang": "eng"}))
    with pytest.raises(CheckpointError, match="'rus' needs a vocabulary and weights of its own"):
        Checkpoint.open(mms, language="rus")
    assert Checkpoint.open(mms, language="eng").labels.language == "eng"


def test_one_language_in_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has one language.* export 'swh' and 'eng' as separate bundles"):
        choose_language(tmp_path, None, "swh,eng", tmp_path / "vocab.json")


@pytest.mark.parametrize("vocabulary", ["the base model's", "its own", "its own, of one language"])
def test_lora_on_the_weights_of_a_language(mms: Path, tmp_path: Path, vocabulary: str) -> None:
    """The language's file replaced the output layer that came with the adapter, or it was not searched at the base.

    Both were exported without a word: with the untrained output layer, or with the attention adapters of English.
    """
    folder = tmp_path / "adapter"
    head = {"lm_head.weight": torch.randn(20, 32), "lm_head.bias": torch.randn(20)}
    write_lora(folder, mms, **head)
    if vocabulary != "the base model's":
        write_vocabulary(folder, *ALPHABETS, target="fra")
        (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    if vocabulary == "its own, of one language":
        table = json.loads((folder / "vocab.json").read_text())["fra"]
        (folder / "vocab.json").write_text(json.dumps(table))
    checkpoint = Checkpoint.open(folder, language="fra")
    found = checkpoint.load().state_dict()
    assert checkpoint.labels.names[5:] == tuple(ALPHABETS["fra"])
    assert all(torch.equal(found[name], value) for name, value in head.items())
    french = {name: value for name, value in load_file(mms / "adapter.fra.safetensors").items() if name not in head}
    assert french and all(torch.equal(found[name], value) for name, value in french.items())
    own = load_file(mms / "model.safetensors")[f"{ADAPTED}.weight"]
    torch.testing.assert_close(found[f"{ADAPTED}.weight"], own + 4)
    assert mms / "adapter.fra.safetensors" in checkpoint.weights


def test_output_layer_of_a_language_under_lora(mms: Path, tmp_path: Path) -> None:
    """An adapter without an output layer takes the language's, of that size."""
    write_lora(tmp_path / "adapter", mms)
    found = Checkpoint.open(tmp_path / "adapter", language="fra").load()
    assert torch.equal(found.lm_head.weight, load_file(mms / "adapter.fra.safetensors")["lm_head.weight"])
