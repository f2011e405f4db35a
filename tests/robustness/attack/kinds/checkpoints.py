"""Checkpoints: damaged weights, other names, shapes, settings and layouts, and pickles that want to run code."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from numpy.random import Generator
from safetensors.torch import load_file, save_file

from wav2edge.export.checkpoint import Checkpoint

from ..mutation import NAMES, TEXTS, damaged, edited, pick, value, written

TINY: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "vocab_size": 8, "pad_token_id": 0,
}  # fmt: skip
LABELS = ("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c")
WEIGHTS = "model.safetensors"
JSON = ("config.json", "preprocessor_config.json", "vocab.json", "tokenizer_config.json")
ADAPTER = {
    "peft_type": "LORA",
    "base_model_name_or_path": "base",
    "r": 2,
    "lora_alpha": 4,
    "alpha_pattern": {"q_proj": 8},
}
WRAPPERS = (
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "net.model.",
    "wav2vec2.",
    "base_model.model.",
    "x.",
)


class _Runs:
    """An object whose pickle creates a file when it is loaded."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("../ran-code",)


class Inputs:
    """Changed copies of a tiny random checkpoint."""

    def __init__(self, scratch: Path) -> None:
        """Make the checkpoint."""
        logging.disable(logging.WARNING)
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.base = scratch / "checkpoint"
        transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**TINY)).save_pretrained(self.base)
        vocabulary = {label: index for index, label in enumerate(LABELS)}
        tokenizer = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "word_delimiter_token": "|"}
        settings = {"do_normalize": True, "sampling_rate": 16000}
        for name, values in zip(JSON[1:], (settings, vocabulary, tokenizer)):
            (self.base / name).write_text(json.dumps(values))
        self.state = load_file(self.base / WEIGHTS)

    def __call__(self, random: Generator, folder: Path) -> str:
        """Change a checkpoint in one or two ways, open it and load its weights."""
        path = folder / "checkpoint"
        shutil.copytree(self.base, path)
        ways: tuple[Callable[[Generator, Path], Path], ...] = (
            self._settings,
            self._settings,
            self._bytes,
            self._header,
            self._names,
            self._pickle,
            self._shards,
            self._adapter,
            self._layout,
            self._fairseq,
        )
        path = pick(random, ways)(random, path)
        if random.random() < 0.15 and os.path.isfile(path / "config.json"):
            path = self._settings(random, path)
        ignored = ("*",) if random.random() < 0.1 else ()
        checkpoint = Checkpoint.open(
            path,
            normalize=pick(random, (None, True)),
            language=pick(random, (None,) * 9 + ("fra",)),
            ignore_weights=ignored,
        )
        model = checkpoint.load()
        checkpoint.digest()
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        return "loaded"

    def _settings(self, random: Generator, path: Path) -> Path:
        name = pick(random, ("config.json", "config.json", *JSON[1:]))
        if not (path / name).is_file():
            return path
        try:
            document = json.loads((path / name).read_text())
        except (ValueError, RecursionError):
            return path
        changed = edited(random, document, int(random.integers(1, 3)))
        (path / name).write_bytes(written(random, changed))
        return path

    def _bytes(self, random: Generator, path: Path) -> Path:
        name = pick(random, (WEIGHTS, WEIGHTS, *JSON))
        (path / name).write_bytes(damaged(random, (path / name).read_bytes()))
        return path

    def _header(self, random: Generator, path: Path) -> Path:
        """The header of safetensors: types, shapes and places of tensors."""
        data = (path / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = written(random, edited(random, json.loads(data[8 : 8 + size]), int(random.integers(1, 4))))
        announced = len(header) if random.random() < 0.8 else int(pick(random, (0, 1, 2**40, 2**63, 100_000_001)))
        (path / WEIGHTS).write_bytes(struct.pack("<Q", announced) + header + data[8 + size :])
        return path

    def _names(self, random: Generator, path: Path) -> Path:
        """Names, shapes and types that another tool or another training loop left."""
        state = self._changed_state(random)
        save_file({name: value.contiguous() for name, value in state.items()}, path / WEIGHTS)
        return path

    def _changed_state(self, random: Generator) -> dict[str, torch.Tensor]:
        state = {name: value.clone() for name, value in self.state.items()}
        for _ in range(int(random.integers(1, 3))):
            name = pick(random, list(state) or ["x"])
            if name not in state:
                return state
            way = int(random.integers(7))
            if way == 0:
                del state[name]
            elif way == 1:
                state[pick(random, (name + "x", "x." + name, *TEXTS))] = state[name].clone()
            elif way == 2:
                wrapper = pick(random, WRAPPERS)
                state = {wrapper + old: value for old, value in state.items()}
            elif way == 3:
                state[name] = state[name].reshape(-1)[: int(random.integers(0, 9))].clone()
            elif way == 4:
                state[name] = state[name].to(
                    pick(random, (torch.float16, torch.int8, torch.float64, torch.bool, torch.complex64))
                )
            elif way == 5:
                state[name] = torch.full_like(state[name], pick(random, (float("nan"), float("inf"), 0.0)))
            else:
                state = {old.removeprefix("wav2vec2."): value for old, value in state.items()}
        return state

    def _pickle(self, random: Generator, path: Path) -> Path:
        (path / WEIGHTS).unlink()
        file = path / "pytorch_model.bin"
        state: Any = self._changed_state(random) if random.random() < 0.5 else dict(self.state)
        container = pick(random, ("", "state_dict", "model", "module", "x"))
        state = {container: state, "epoch": 3} if container else state
        if random.random() < 0.3:
            state = pick(
                random, (_Runs(), {"a": _Runs(), **self.state}, [1, 2], None, {}, {"model": {"model": {}}}, {1: 2})
            )
        if random.random() < 0.2:
            file.write_bytes(pickle.dumps(state))
        else:
            torch.save(state, file, _use_new_zipfile_serialization=bool(random.random() < 0.7))
        if random.random() < 0.4:
            file.write_bytes(damaged(random, file.read_bytes()))
        return path

    def _shards(self, random: Generator, path: Path) -> Path:
        (path / WEIGHTS).unlink()
        names, shards = list(self.state), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        for shard, half in zip(shards, halves):
            save_file({name: self.state[name] for name in half}, path / shard)
        index = {"metadata": {}, "weight_map": {name: shard for shard, half in zip(shards, halves) for name in half}}
        if random.random() < 0.3:
            (path / shards[0]).unlink()
        if random.random() < 0.5:
            index["weight_map"][names[0]] = pick(random, NAMES)
        (path / f"{WEIGHTS}.index.json").write_bytes(written(random, edited(random, index, int(random.integers(0, 3)))))
        return path

    def _adapter(self, random: Generator, path: Path) -> Path:
        """A LoRA adapter beside its base model."""
        adapter = path.parent / "adapter"
        adapter.mkdir()
        path.rename(adapter / "base")
        layer = "base_model.model.wav2vec2.encoder.layers.0.attention.q_proj"
        state = {f"{layer}.lora_A.weight": torch.ones(2, 16), f"{layer}.lora_B.weight": torch.ones(16, 2)}
        if random.random() < 0.5:
            name = pick(random, list(state))
            state[name] = pick(random, (torch.ones(3), torch.ones(2, 3), torch.ones(0, 2), torch.ones(2, 16).half()))
        if random.random() < 0.3:
            state[pick(random, ("base_model.model.lm_head.weight", f"{layer}.lora_magnitude_vector"))] = torch.ones(
                8, 16
            )
        save_file(state, adapter / "adapter_model.safetensors")
        settings = edited(random, ADAPTER, int(random.integers(0, 3)))
        if isinstance(settings, dict) and random.random() < 0.1:
            settings["alpha_pattern"] = {pick(random, TEXTS): 4, "(.*)*$": 4, "(a|a)*b": 2}
        (adapter / "adapter_config.json").write_bytes(written(random, settings))
        return adapter

    def _layout(self, random: Generator, path: Path) -> Path:
        """Hub caches, pointers, links and folders of other tools."""
        way = int(random.integers(7))
        if way == 0:
            outer = path.parent / "models--someone--model"
            (outer / "snapshots").mkdir(parents=True)
            path.rename(outer / "snapshots" / "0123")
            (outer / "refs").mkdir()
            (outer / "refs" / "main").write_bytes(
                pick(random, (b"0123", b"0123\n", b"..", b"\xff\xfe", b"", b"a" * 5000, b"\0"))
            )
            return outer
        if way == 1:
            (path / pick(random, (WEIGHTS, "config.json"))).write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
            )
        elif way == 2:
            name = pick(random, (WEIGHTS, *JSON))
            (path / name).unlink()
            (path / name).symlink_to(pick(random, ("../../secret.fifo", name, "/dev/zero", ".")))
        elif way == 3:
            (path / pick(random, (WEIGHTS, *JSON))).unlink()
        elif way == 4:
            (path / "config.json").write_bytes(written(random, value(random)))
        elif way == 5:
            (path / WEIGHTS).rename(
                path / pick(random, ("tf_model.h5", "flax_model.msgpack", "weights.bin", "model.onnx"))
            )
        else:
            return path / pick(random, NAMES)
        return path

    def _fairseq(self, random: Generator, path: Path) -> Path:
        file = path.parent / "model.pt"
        names = {f"w2v_encoder.w2v_model.{name.removeprefix('wav2vec2.')}": value for name, value in self.state.items()}
        names["w2v_encoder.proj.weight"] = torch.ones(8, 16)
        state: Any = {"model": names, "cfg": edited(random, {"model": {"encoder_attention_heads": 2}}, 1)}
        torch.save(state, file)
        (path.parent / "dict.ltr.txt").write_bytes(damaged(random, b"| 100\na 90\nb 80\nc 7\n"))
        if random.random() < 0.4:
            file.write_bytes(damaged(random, file.read_bytes()))
        return file
