"""The evidence on which bundle format 1 is frozen.

CTC, sequence classification, x-vector and the frontend/encoder split pass the parity gate in ONNX Runtime and OpenVINO,
and TensorRT for RTX, which builds without a GPU, parses and builds each graph.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wav2edge.export import parity
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.pipeline import model_spec
from wav2edge.export.reference import Reference
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Stage

pytestmark = pytest.mark.slow

TDNN: dict[str, Any] = {"tdnn_dim": (20, 24, 20, 20, 40), "xvector_output_dim": 24}
LAYER: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
GROUP: dict[str, Any] = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
MODELS: dict[str, dict[str, Any]] = {
    "ctc-layer": LAYER,
    "ctc-group": GROUP,
    "classification": {**GROUP, "head": "ForSequenceClassification", "num_labels": 5, "use_weighted_layer_sum": True},
    "xvector": {**LAYER, "head": "ForXVector", **TDNN},
}


@pytest.fixture(scope="module", params=list(MODELS))
def exported(
    request: pytest.FixtureRequest, shared_checkpoint: Callable[..., Path], bundle_of: Callable[[Path], Bundle]
) -> tuple[Checkpoint, Bundle]:
    """A checkpoint and its bundle, which passed the gate in ONNX Runtime to come into being."""
    path = shared_checkpoint(**MODELS[request.param])
    return Checkpoint.open(path), bundle_of(path)


def test_parity_in_openvino(exported: tuple[Checkpoint, Bundle]) -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    checkpoint, bundle = exported
    model = checkpoint.load()
    points = parity.check(
        bundle,
        bundle.variant("fp32"),
        Reference(model, model_spec(checkpoint, model), checkpoint.preprocessing),
        "openvino",
    )
    assert [point for point in points if not point["passed"]] == []


@pytest.mark.parametrize("stage", ["full", "frontend", "encoder"])  # GPUs do not run pieces
def test_tensorrt_for_rtx_builds(
    exported: tuple[Checkpoint, Bundle], stage: Stage, build_engine: Callable[..., None]
) -> None:
    _, bundle = exported
    build_engine(bundle.graph(bundle.variant("fp32"), stage), channels=16)
