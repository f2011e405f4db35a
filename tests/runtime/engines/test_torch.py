"""The reference runs the checkpoint that a bundle was made from, and no other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.runtime import engines, selftest
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions
from wav2edge.runtime.engines import torch as engine
from wav2edge.runtime.errors import EngineError

CHECKPOINT = Path(__file__).parents[2] / "data" / "group_norm"


def test_without_a_checkpoint_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    if engine.not_installed():
        pytest.skip("the engine torch needs the extra [export]")
    monkeypatch.delenv(engine.CHECKPOINT, raising=False)
    assert "WAV2EDGE_CHECKPOINT" in str(engine.unavailable())
    monkeypatch.setenv(engine.CHECKPOINT, str(CHECKPOINT))
    assert engine.unavailable() is None


def test_integer_variants_exist_only_as_graphs(small_bundle: Bundle) -> None:
    assert "no integer form" in str(engine.refuses(small_bundle.spec, small_bundle.variant("int8-s8s8")))
    assert engine.refuses(small_bundle.spec, small_bundle.variant("fp16")) is None


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("transformers", reason="the engine torch needs the extra [export]")
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.pipeline import export

    return export(Checkpoint.open(CHECKPOINT), tmp_path_factory.mktemp("torch") / "bundle")


@pytest.mark.slow
def test_it_equals_the_exported_graph_clip_by_clip(exported: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ragged batch too: transformers alone would let the padding change a group-norm model's results."""
    monkeypatch.setenv(engine.CHECKPOINT, str(CHECKPOINT))
    batch = (0.1 * np.random.default_rng(2).standard_normal((2, 24000))).astype(np.float32)
    feeds = engines.as_feeds(batch, np.array([24000, 9000]))
    variant = exported.variant("fp32")
    options = EngineOptions(threads=1)
    theirs = engines.load(exported, variant, "onnxruntime", options=options).run(feeds)
    session = engines.load(exported, variant, "torch", options=options)
    ours = session.run(feeds)
    assert ours["output_lengths"].tolist() == theirs["output_lengths"].tolist()
    assert ours["logits"].shape == theirs["logits"].shape
    for a, b, frames in zip(ours["logits"], theirs["logits"], ours["output_lengths"]):
        assert np.abs(a[:frames] - b[:frames]).max() <= 1e-3 * max(1.0, np.abs(b).max())
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.run(feeds)


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    ["ForSequenceClassification", "Regression", "ForAudioFrameClassification", "ForXVector", "Model", "BertModel"],
)
def test_every_head_has_a_reference(
    random_head: Callable[[str], Bundle], head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only transcribers, classifiers and x-vectors of waveforms had one."""
    bundle = random_head(head)
    monkeypatch.setenv(engine.CHECKPOINT, str(bundle.path.parent / "checkpoint"))
    assert engine.refuses(bundle.spec, bundle.variant("fp32")) is None
    (result,) = selftest.run(bundle, "torch", "fp32", threads=1)
    assert result.status == "passed", result.reason


@pytest.mark.slow
def test_other_weights_are_refused(exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    shutil.copytree(CHECKPOINT, other)
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert engine.matches(exported, CHECKPOINT)
    assert not engine.matches(exported, other)
    monkeypatch.setenv(engine.CHECKPOINT, str(other))
    with pytest.raises(EngineError, match="holds other weights"):
        engines.load(exported, exported.variant("fp32"), "torch")
    monkeypatch.setenv(engine.CHECKPOINT, os.fspath(tmp_path))
    with pytest.raises(EngineError, match="not a Hugging Face checkpoint"):
        engines.load(exported, exported.variant("fp32"), "torch")
