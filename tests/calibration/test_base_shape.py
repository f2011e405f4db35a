"""Base shape on TensorRT for RTX: what the calibration makes of it parses and builds, with no GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.calibration.build import VariantBuilder
from wav2edge.calibration.observe import observe
from wav2edge.calibration.passes.qdq import observed
from wav2edge.calibration.sites import find_sites
from wav2edge.graphs.graph import Graph
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.engines import EngineOptions


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason='needs `pip install "wav2edge[rtx]"` (x86-64, aarch64)'
)
@pytest.mark.parametrize(("norm", "layers", "parameters"), [("group", 12, 94e6), ("layer", 2, 20e6)])
def test_int8_and_fp16_of_base_shape_build(
    random_bundle: Callable[..., Bundle],
    norm: str,
    layers: int,
    parameters: float,
    speech: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of wav2vec2-base; with layer norm two of the twelve layers, for the ten others are the same graph again."""
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    bundle = random_bundle(norm, num_hidden_layers=layers)
    graph = Graph.load(bundle.graph(bundle.variant("fp32"), "full"))
    assert graph.parameters > parameters
    sites = find_sites(graph)
    seen = observe(graph, observed(sites), [speech[0][:16000]], tmp_path)
    shop = VariantBuilder(bundle, graph, sites, seen, "min-max", tmp_path)
    compile_ahead = engines.get("tensorrt-rtx").build
    assert compile_ahead is not None
    for name in ("int8-s8s8", "fp16"):
        variant = shop.build(name, frozenset())
        assert variant.bytes < (0.33 if name == "int8-s8s8" else 0.55) * 4 * graph.parameters
        staged = dataclasses.replace(bundle, path=tmp_path, variants=(variant,))
        said: list[str] = []
        engine = compile_ahead(staged, variant, "full", EngineOptions(longest_seconds=1.0), said.append)
        assert engine.stat().st_size > 0.8 * variant.bytes, said
