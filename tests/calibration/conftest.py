"""The embedded model as a bundle that a test may write to, and its graph."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wav2edge.graphs.graph import Graph
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import MANIFEST, Bundle


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
    return [read.load(path)[:64000] for path, _ in clips[:2]]


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


RandomBundle = Callable[..., Bundle]


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> RandomBundle:
    """Export a transcriber of random weights: ``random_bundle("group", hidden_size=32)``; each shape once.

    family: Wav2Vec2, or another whose configuration has the same settings.
    """
    torch = pytest.importorskip("torch", reason="needs the extra [export]")
    transformers = pytest.importorskip("transformers", reason="needs the extra [export]")
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.pipeline import export

    made: dict[str, Bundle] = {}
    labels = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz")

    def make(norm: str, family: str = "Wav2Vec2", **settings: object) -> Bundle:
        key = f"{family} {norm} {sorted(settings.items())}"
        if key in made:
            return made[key]
        folder = tmp_path_factory.mktemp("random")
        layer = norm == "layer"
        config = getattr(transformers, f"{family}Config")(
            vocab_size=len(labels),
            feat_extract_norm=norm,
            do_stable_layer_norm=layer,
            conv_bias=layer,
            **settings,
        )
        torch.manual_seed(7)
        model = getattr(transformers, f"{family}ForCTC")(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1 and ("norm" in name or name.endswith("bias")):
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(folder / "checkpoint")
        for file, values in (
            ("vocab.json", {label: index for index, label in enumerate(labels)}),
            ("tokenizer_config.json", {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>"}),
            ("preprocessor_config.json", {"do_normalize": True, "sampling_rate": 16000}),
        ):
            (folder / "checkpoint" / file).write_text(json.dumps(values), "utf-8")
        made[key] = export(Checkpoint.open(folder / "checkpoint"), folder / "bundle")
        return made[key]

    return make
