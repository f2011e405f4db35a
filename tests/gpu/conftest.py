"""What the GPU suite runs on: one GPU, one bundle, every engine that uses it.

    scripts/test --gpu                             a base-shape model with random weights, made on the spot
    WAV2EDGE_GPU_BUNDLE=my-bundle scripts/test --gpu                         a bundle of yours
    WAV2EDGE_CHECKPOINT=my-checkpoint …            its checkpoint, so that torch is in the table
    WAV2EDGE_GPU_REHEARSAL=1 scripts/test --gpu    the suite itself, on CPU engines: proves no GPU figure

The engines must be installed beside the project, since no two GPU machines take the same packages; what is missing is
skipped with its reason, and the suite fails where nothing of it could run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle, Variant
from wav2edge.runtime.engines import EngineOptions, Session, _gpu
from wav2edge.runtime.engines import torch as torch_engine

REHEARSAL = bool(os.environ.get("WAV2EDGE_GPU_REHEARSAL"))
ENGINES = (
    ("onnxruntime", "openvino")
    if REHEARSAL
    else ("onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx")
)
VARIANTS = ("fp32", "fp16", "bf16", "int8-s8s8")
LONGEST = 10.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that asks for an engine runs once for each."""
    if "gpu_engine" in metafunc.fixturenames:
        metafunc.parametrize("gpu_engine", ENGINES, scope="session")
    if "variant_name" in metafunc.fixturenames:
        metafunc.parametrize("variant_name", VARIANTS, scope="session")


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    """A GPU, or a failure that says what is missing: who starts this suite expects one."""
    if not REHEARSAL and (reason := _gpu.missing()):
        pytest.fail(f"no GPU to test on: {reason}", pytrace=False)


@pytest.fixture(scope="session")
def gpu_engines() -> tuple[str, ...]:
    """The engines that the suite is about."""
    return ENGINES


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The checkpoint behind the bundle: named, or base shape with random weights where the bundle is not named."""
    if named := os.environ.get(torch_engine.CHECKPOINT):
        return Path(named)
    if os.environ.get("WAV2EDGE_GPU_BUNDLE"):
        return None
    return _random_checkpoint(tmp_path_factory.mktemp("gpu") / "base", small=REHEARSAL)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle named by WAV2EDGE_GPU_BUNDLE, else an export of the random checkpoint with FP16 and INT8 variants."""
    if named := os.environ.get("WAV2EDGE_GPU_BUNDLE"):
        return Bundle.open(named)
    from wav2edge.cli import main

    path = tmp_path_factory.mktemp("gpu") / "bundle"
    assert main(["export", str(checkpoint), str(path)]) == 0
    # Random weights lose every word, so the gate is forced: speed and numbers are what is tested here.
    making = ["quantize", str(path), "--variants", "fp16,int8-s8s8", "--force", "--no-search", "--no-smooth"]
    assert main([*making, "--limit", "4", "--longest", "5"]) == 0
    return Bundle.open(path)


@pytest.fixture(scope="session")
def variant(bundle: Bundle, variant_name: str) -> Variant:
    """One of the bundle's variants."""
    if variant_name not in {item.name for item in bundle.variants}:
        pytest.skip(f"the bundle has no {variant_name}")
    return bundle.variant(variant_name)


@pytest.fixture(scope="session")
def session(bundle: Bundle, variant: Variant, gpu_engine: str) -> Iterator[Session]:
    """The variant loaded in the engine, for clips up to LONGEST seconds."""
    module = engines.get(gpu_engine)
    if reason := module.unavailable():
        pytest.skip(reason)
    if reason := module.refuses(bundle.spec, variant):
        pytest.skip(f"{gpu_engine} refuses {variant.name}: {reason}")
    loaded = engines.load(bundle, variant, gpu_engine, options=EngineOptions(longest_seconds=LONGEST))
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def reference(bundle: Bundle) -> Iterator[Session]:
    """The fp32 graph on ONNX Runtime's CPU, which the export proved against torch."""
    loaded = engines.load(bundle, bundle.variant("fp32"), "onnxruntime")
    yield loaded
    loaded.close()


def _random_checkpoint(directory: Path, *, small: bool) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    labels = ["<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"]
    shape: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    if small:
        shape |= {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
        shape |= {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    config = transformers.Wav2Vec2Config(vocab_size=len(labels), pad_token_id=0, **shape)
    model: Any = transformers.Wav2Vec2ForCTC(config)
    model.eval().save_pretrained(directory)
    (directory / "vocab.json").write_text(json.dumps({label: index for index, label in enumerate(labels)}))
    tokenizer = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "word_delimiter_token": "|"}
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (directory / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    return directory
