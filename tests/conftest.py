"""What every test may use: the clips that ship, and a bundle that needs no engine."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest
import soundfile

from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec, Output
from wav2edge.runtime.bundle.write import describe_variant, new_bundle, write_manifest
from wav2edge.runtime.heads.ctc import Options

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
