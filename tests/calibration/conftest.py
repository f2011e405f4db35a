"""The embedded model as a bundle that a test may write to, and its graph."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.calibration.graphs.graph import Graph
from wav2edge.runtime import audio, embedded
from wav2edge.runtime.bundle import MANIFEST, Bundle


def only_fp32(source: Path, target: Path) -> Bundle:
    """A copy of a bundle with the fp32 variant alone."""
    shutil.copytree(source, target)
    values = json.loads((target / MANIFEST).read_text("utf-8"))
    values["variants"] = [variant for variant in values["variants"] if variant["name"] == "fp32"]
    values["files"].pop("calibration.json", None)
    (target / MANIFEST).write_text(json.dumps(values), "utf-8")
    return Bundle.open(target)


@pytest.fixture(scope="session")
def fp32_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded bundle with fp32 alone; read only by agreement."""
    return only_fp32(embedded.bundle_path(), tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture
def own_bundle(fp32_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A copy to write to."""
    shutil.copytree(fp32_bundle.path, tmp_path / "model")
    return Bundle.open(tmp_path / "model")


@pytest.fixture(scope="session")
def fp32_graph(fp32_bundle: Bundle) -> Graph:
    """The full graph; copy it before a pass changes it."""
    return Graph.load(fp32_bundle.graph(fp32_bundle.variant("fp32"), "full"))


@pytest.fixture(scope="session")
def speech(clips: list[tuple[Path, str]]) -> list[np.ndarray]:
    """The samples of two clips, at most 4 s each."""
    return [audio.load(path)[:64000] for path, _ in clips[:2]]


Logits = Callable[[Graph, np.ndarray], np.ndarray]


@pytest.fixture
def logits(tmp_path: Path) -> Logits:
    """Run a graph on one clip [samples] in ONNX Runtime: logits [frames, labels]."""
    import onnxruntime as ort

    def run(graph: Graph, samples: np.ndarray) -> np.ndarray:
        session = ort.InferenceSession(graph.to_model().SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {"input_values": samples[None], "input_lengths": np.array([len(samples)], dtype=np.int64)}
        values: np.ndarray = session.run(["logits"], feeds)[0][0]
        return values

    return run
