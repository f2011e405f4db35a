"""The evidence on which bundle format 1 is frozen.

CTC, sequence classification, x-vector and the frontend/encoder split pass the parity gate in ONNX Runtime and OpenVINO,
and TensorRT for RTX, which builds without a GPU, parses and builds each graph.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wav2edge.export import parity
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.pipeline import export, model_spec
from wav2edge.export.reference import Reference
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import STAGES, Stage

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

BUILD = """
import sys
import tensorrt_rtx as trt

path, channels, samples = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(path), [str(parser.get_error(i)) for i in range(parser.num_errors)]
profile = builder.create_optimization_profile()
for index in range(network.num_inputs):
    tensor = network.get_input(index)
    size = samples if tensor.name != "features" else samples // 320
    rank = len(tensor.shape)
    shapes = [(batch, size * scale, channels)[:rank] for batch, scale in ((1, 1), (1, 2), (2, 3))]
    profile.set_shape(tensor.name, *shapes)
config = builder.create_builder_config()
config.add_optimization_profile(profile)
engine = builder.build_serialized_network(network, config)
assert engine is not None and engine.nbytes > 0
print(engine.nbytes)
"""


@pytest.fixture(scope="module", params=list(MODELS))
def exported(request: pytest.FixtureRequest, make_checkpoint: Callable[..., Path]) -> tuple[Checkpoint, Bundle]:
    """A checkpoint and its bundle, which passed the gate in ONNX Runtime to come into being."""
    path = make_checkpoint(**MODELS[request.param])
    checkpoint = Checkpoint.open(path)
    return checkpoint, export(checkpoint, path.parent / f"{path.name}-bundle")


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
    assert [point for point in points if not point.passed] == []


@pytest.mark.parametrize("stage", list(STAGES))
def test_tensorrt_for_rtx_builds(exported: tuple[Checkpoint, Bundle], stage: Stage) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs the extra [rtx]")
    _, bundle = exported
    path = bundle.graph(bundle.variant("fp32"), stage)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(path), "16", "8000"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 10_000
