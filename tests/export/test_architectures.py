"""Every architecture: a batch of clips of any length, padded with anything, equals torch on each clip alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from wav2edge.calibration.passes.half import to_half
from wav2edge.calibration.sites import find_sites
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.families import FAMILIES
from wav2edge.export.parity import cases, check
from wav2edge.export.pipeline import model_spec
from wav2edge.export.reference import Reference
from wav2edge.graphs.graph import Graph
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import CheckpointError

OTHER_ENGINES = (
    "wavlm",
    "data2vec-audio",
    "conformer, relative",
    "conformer, rotary",
    "wav2vec2-bert with adapter",
    "sew",
    "sew-d",
)


def test_padding_never_reaches_a_clip(architecture: Path, compare_batch: Callable[..., None]) -> None:
    """The shortest legal clip, odd and even numbers of frames, NaN as padding."""
    compare_batch(architecture, (0, 3000, 3320, 12345))


@pytest.mark.slow
def test_export(architecture: Path, bundle_of: Callable[[Path], Bundle]) -> None:
    bundle = bundle_of(architecture)
    assert all(point["passed"] for point in bundle.provenance["parity"]["points"])
    pieces = {"statistics", "tile"} if bundle.spec.norm == "group" and bundle.spec.frontend == "waveform" else set()
    assert set(bundle.variant("fp32").graphs) == {"full", "frontend", "encoder"} | pieces


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["wav2vec2-bert"], indirect=True)
def test_log_mel_stays_in_fp32(architecture: Path, bundle_of: Callable[[Path], Bundle]) -> None:
    """Squares of 16-bit samples overflow fp16, and INT8 cannot hold bands that differ by 90 dB."""
    bundle = bundle_of(architecture)
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    assert {site.path.split(".")[0] for site in find_sites(graph)} == {"feature_projection", "encoder", "head"}
    to_half(graph, "fp16")
    floats = [values for name, values in graph.weights.items() if "log_mel" in name and values.dtype.kind == "f"]
    assert len(floats) > 2 and all(values.dtype == np.float32 for values in floats)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_ENGINES, indirect=True)
def test_other_engines(
    architecture: Path, bundle_of: Callable[[Path], Bundle], build_engine: Callable[..., None]
) -> None:
    """The same points pass in OpenVINO, and TensorRT for RTX builds each stage."""
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    checkpoint, bundle = Checkpoint.open(architecture), bundle_of(architecture)
    spec = bundle.spec
    reference = Reference(checkpoint.load(), spec, checkpoint.preprocessing)
    points = check(bundle, bundle.variant("fp32"), reference, "openvino")
    assert [point for point in points if not point["passed"]] == []
    channels = 160 if spec.frontend == "log-mel" else 16
    for stage in ("full", "frontend", "encoder"):  # GPUs do not run the front end in pieces
        build_engine(bundle.graph(bundle.variant("fp32"), stage), channels)


def test_gate_compares_log_mel_where_float32_can(make_checkpoint: Callable[..., Path]) -> None:
    """Bands over two frames are divided by what may be a rounding; frames are counted from the shortest clip on."""
    checkpoint = Checkpoint.open(make_checkpoint(classes="Wav2Vec2Bert", conv_depthwise_kernel_size=7))
    spec = model_spec(checkpoint, checkpoint.load())
    assert spec.min_samples == 560 and spec.frontend == "log-mel" and not spec.normalize
    assert min(len(clip) for case in cases(spec) for clip in case.clips) == 1600


def test_a_pooled_head_on_log_mel_features(
    make_checkpoint: Callable[..., Path], compare_batch: Callable[..., None]
) -> None:
    """It took waveforms alone, so that Wav2Vec2BertForSpeechClassification ended in a TypeError."""
    path = make_checkpoint(classes="Wav2Vec2Bert", head="Model", conv_depthwise_kernel_size=7)
    config = json.loads((path / "config.json").read_text("utf-8"))
    config |= {"architectures": ["Wav2Vec2BertForSpeechClassification"], "num_labels": 3}
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    weights = {f"wav2vec2_bert.{name}": value for name, value in load_file(path / "model.safetensors").items()}
    for layer, size in (("dense", 32), ("out_proj", 3)):
        weights[f"classifier.{layer}.weight"] = torch.linspace(-1, 1, size * 32).reshape(size, 32)
        weights[f"classifier.{layer}.bias"] = torch.linspace(-1, 1, size)
    save_file(weights, path / "model.safetensors")
    compare_batch(path, (3000, 0, 1200), shortest_seconds=0.1)


def test_layers_of_sew_cannot_be_summed(make_checkpoint: Callable[..., Path]) -> None:
    shape = {
        "conv_kernel": (10, 3, 1, 3, 1, 2, 2),
        "conv_stride": (5, 2, 1, 2, 2, 2, 2),
        "use_weighted_layer_sum": True,
    }
    checkpoint = Checkpoint.open(make_checkpoint(classes="SEW", head="ForSequenceClassification", **shape))
    with pytest.raises(CheckpointError, match="other frames than its output"):
        model_spec(checkpoint, checkpoint.load())


def test_transformers_knows_every_family() -> None:
    from transformers import CONFIG_MAPPING

    assert {family.name for family in FAMILIES} <= set(CONFIG_MAPPING)
