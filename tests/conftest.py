"""What every test may use: the clips that ship, and a bundle that needs no engine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, settings

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec, Output
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.heads.ctc import Options

# Before anything imports torch: two processes share the cores (scripts/test), and torch's threads spin while they wait.
# A small export took 5.2 s of CPU with two, and takes 1.7 s with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine failed tests that took 0.2 s once, and an emulated one those whose inputs were made slowly.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

WAV2VEC2_TIME = tuple(
    Convolution(kernel, stride, 0) for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
)


def pytest_report_header() -> list[str]:
    """Versions of what the figures below depend on."""
    found = []
    for package in ("numpy", "onnxruntime", "openvino", "tensorrt-rtx", "torch", "transformers", "onnx", "nncf"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} -")
    return ["engines: " + ", ".join(found)]


@pytest.fixture(scope="session")
def clips() -> list[tuple[Path, str]]:
    """The clips of human speech that ship with the package, each with its transcript."""
    manifest = embedded.clips_manifest()
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    return [(manifest.parent / row["path"], row["text"]) for row in rows]


@pytest.fixture(scope="session")
def ctc_spec() -> ModelSpec:
    """A CTC model of wav2vec2's time arithmetic with letters as labels."""
    return ModelSpec(
        architecture="wav2vec2",
        head="ctc",
        normalize=True,
        norm="layer",
        outputs=(Output("logits", ("batch", "frames", "labels"), "unnormalised log-probabilities"),),
        labels=("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"),
        time=WAV2VEC2_TIME,
        head_options=Options(silent=("<s>", "</s>")),
        blank=0,
        delimiter="|",
        language="en",
    )


@pytest.fixture
def shapes_bundle(tmp_path: Path, ctc_spec: ModelSpec) -> Bundle:
    """A bundle for the null engine: its one graph is a file of bytes that nothing reads."""
    path = tmp_path / "shapes"
    with new_bundle(path) as directory:
        (directory / "fp32.onnx").write_bytes(b"no graph" * 100)
        (directory / "vocab.json").write_text("{}")
        variant = describe_variant(directory, "fp32", "fp32", {"full": "fp32.onnx"})
        write_manifest(directory, ctc_spec, [variant], {"checkpoint": "none"}, ["vocab.json"])
    return Bundle.open(path)


@pytest.fixture
def workspace(tmp_path: Path, clips: list[tuple[Path, str]]) -> Path:
    """A folder as a reader of the documentation has it: bundles, a recording in three formats, two manifests."""
    talk = next(path for path, _ in clips if path.stem == "coffee-mocha")
    samples, rate = soundfile.read(talk)
    for suffix in ("wav", "flac", "mp3"):
        soundfile.write(tmp_path / f"talk.{suffix}", samples, rate)
    for name in ("bundle", "my-bundle"):
        shutil.copytree(embedded.bundle_path(), tmp_path / name)
    for name, rows in (("calibration", clips[1::2]), ("dev", clips[::2])):
        lines = [json.dumps({"path": str(path), "text": text}) for path, text in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture(scope="session")
def random_head(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Export a tiny model of random weights by what its class is called after the family: ``ForXVector``, ``Model``.

    ``Regression`` is a ForSequenceClassification of numbers, ``Bert`` before a name the family with a spectrogram. The
    checkpoint stays beside the bundle. Read only by agreement.
    """
    torch = pytest.importorskip("torch", reason="needs the extra [export]")
    transformers = pytest.importorskip("transformers", reason="needs the extra [export]")
    from wav2edge.export.checkpoint import Checkpoint
    from wav2edge.export.pipeline import export

    names = ("calm", "angry", "sad")
    made: dict[str, Bundle] = {}

    def make(head: str) -> Bundle:
        if head in made:
            return made[head]
        folder = tmp_path_factory.mktemp("head")
        spectrogram = head.startswith("Bert")
        classes = "Wav2Vec2Bert" if spectrogram else "Wav2Vec2"
        suffix = head.removeprefix("Bert").replace("Regression", "ForSequenceClassification")
        config = getattr(transformers, f"{classes}Config")(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            classifier_proj_size=16,
            tdnn_dim=(16, 16),
            tdnn_kernel=(3, 1),
            tdnn_dilation=(1, 1),
            xvector_output_dim=8,
            num_labels=len(names),
            problem_type="regression" if head == "Regression" else None,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            **({"conv_depthwise_kernel_size": 7} if spectrogram else {"conv_dim": (16,) * 7}),
            **({} if spectrogram else {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}),
        )
        torch.manual_seed(3)
        network = getattr(transformers, classes + suffix)(config).eval()
        for name, parameter in network.named_parameters():  # drawn wider: embeddings near zero are rounding alone
            if name.startswith(("tdnn", "projector", "feature_extractor.weight")) and parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=(2 / parameter.shape[1]) ** 0.5)
        network.save_pretrained(folder / "checkpoint")
        if spectrogram:
            transformers.SeamlessM4TFeatureExtractor(padding_value=0.0).save_pretrained(folder / "checkpoint")
        else:
            values = {"do_normalize": True, "sampling_rate": 16000}
            (folder / "checkpoint" / "preprocessor_config.json").write_text(json.dumps(values), "utf-8")
        made[head] = export(Checkpoint.open(folder / "checkpoint"), folder / "bundle")
        return made[head]

    return make
