"""ONNX files of optimum and transformers.js: the contract is put around them, or one line says why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from wav2edge.cli import main
from wav2edge.devices.open import open_model
from wav2edge.export.checkpoint import Checkpoint
from wav2edge.export.onnx_files import OnnxCheckpoint
from wav2edge.export.onnx_import import import_onnx
from wav2edge.export.opening import export_checkpoint, open_checkpoint
from wav2edge.export.parity import speech_clips
from wav2edge.export.pipeline import export
from wav2edge.runtime import engines
from wav2edge.runtime.bundle.read import Bundle, sha256
from wav2edge.runtime.errors import CheckpointError, InputError
from wav2edge.runtime.recordings.transcriber import Transcriber

FILES = Path(__file__).parent / "onnx_files"
OPTIMUM = FILES / "optimum-group-ctc"
CLASSIFIER = FILES / "optimum-wavlm-classifier"
Change = Callable[[onnx.ModelProto], None]


def imported(source: Path, destination: Path) -> Bundle:
    found = open_checkpoint(source)
    assert isinstance(found, OnnxCheckpoint)
    return import_onnx(found, destination)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of optimum's file."""
    return imported(OPTIMUM, tmp_path_factory.mktemp("imported") / "bundle")


@pytest.mark.slow
def test_it_gives_what_torch_gives(bundle: Bundle, tmp_path: Path, clips: list[tuple[Path, str]]) -> None:
    """Against the bundle of the checkpoint that the file was made from: logits of a ragged batch, and text."""
    original = export(Checkpoint.open(FILES / "checkpoint-group-ctc"), tmp_path / "original")
    samples: list[NDArray[np.float32]] = [clip[:size] for clip, size in zip(speech_clips(16000), (16000, 9000, 20320))]
    with open_model(bundle, "onnxruntime") as ours, open_model(original, "onnxruntime") as theirs:
        for found, wanted in zip(ours.logits(samples), theirs.logits(samples)):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)
        path = clips[0][0]
        text = Transcriber(ours)(path).text
        assert text == Transcriber(theirs)(path).text and len(text) > 20


def test_what_the_bundle_says(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    spec = bundle.spec
    assert (spec.max_batch, spec.norm, spec.normalize, spec.blank, spec.delimiter) == (1, "group", True, 0, "|")
    assert set(bundle.variant("fp32").graphs) == {"full", "frontend", "encoder"}
    assert bundle.provenance["parity"]["reference"] == "the ONNX file"
    graph = onnx.load(str(bundle.graph(bundle.variant("fp32"), "full")), load_external_data=False).graph
    assert [value.name for value in graph.input] == ["input_values", "input_lengths"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert main(["inspect", str(bundle.path), "--verify"]) == 0
    assert "one clip at a time" in capsys.readouterr().out
    assert main(["selftest", str(bundle.path), "--engine", "onnxruntime,openvino"]) == 0
    for engine in ("tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt"):
        assert "cuts each clip to its length" in str(engines.refusal(bundle, engine, bundle.variant("fp32")))


def test_a_larger_batch_is_refused_by_the_graph_and_run_one_by_one(bundle: Bundle) -> None:
    """A graph without a mask that took two clips gave the shorter one's frames from its padding, without a word."""
    clips = speech_clips(16000)
    batch = np.full((2, 16000), np.nan, np.float32)
    batch[0], batch[1, :9000] = clips[0][:16000], clips[1][:9000]
    feeds = engines.as_feeds(batch, np.array([16000, 9000]))
    session = engines.load(bundle, bundle.variant("fp32"), "onnxruntime")
    together = session.run(feeds)
    alone = session.run(engines.as_feeds(clips[1][None, :9000], np.array([9000])))
    assert together["output_lengths"].tolist() == [49, 27]
    np.testing.assert_array_equal(together["logits"][1, :27], alone["logits"][0])
    with pytest.raises(Exception, match=r"Got invalid dimensions|Expected: 1"):
        session.inner.run(feeds)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_quantize(bundle: Bundle, tmp_path: Path, clips: list[tuple[Path, str]]) -> None:
    shutil.copytree(bundle.path, tmp_path / "b")
    rows = [json.dumps({"path": str(path), "text": text}) for path, text in clips]
    (tmp_path / "speech.jsonl").write_text("\n".join(rows) + "\n")
    words = ["--speech", str(tmp_path / "speech.jsonl"), "--variant", "int8-dynamic,fp16", "--force"]
    assert main(["quantize", str(tmp_path / "b"), *words]) == 0
    assert {"int8-dynamic", "fp16"} <= {variant.name for variant in Bundle.open(tmp_path / "b").variants}


@pytest.mark.slow
def test_classifier(tmp_path: Path, clips: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(CLASSIFIER), str(tmp_path / "b")]) == 0
    assert Bundle.open(tmp_path / "b").spec.head == "sequence_classification"
    assert main(["classify", str(clips[0][0]), "-m", str(tmp_path / "b")]) == 0
    assert "LABEL_" in capsys.readouterr().out


def traced_with_mask(checkpoint: Path, file: Path) -> None:
    """As torch traces transformers' model: right for one size of batch alone."""

    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Checkpoint.open(checkpoint).load()

        def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.model(input_values, attention_mask=attention_mask).logits
            return result

    names = ["input_values", "attention_mask"]
    torch.onnx.export(
        Masked().eval(),
        (torch.randn(1, 16000), torch.ones(1, 16000, dtype=torch.int64)),
        str(file),
        dynamo=False,
        opset_version=14,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "time"} for name in (*names, "logits")},
    )


def exact_with_mask(checkpoint: Path, file: Path) -> None:
    """A graph of this project that takes a mask in the place of lengths, and leaves normalising to its caller."""
    made = export(Checkpoint.open(checkpoint, normalize=False), file.parent / "made")
    model = onnx.load(str(made.graph(made.variant("fp32"), "full")))
    graph = model.graph
    graph.input[1].CopyFrom(onnx.helper.make_tensor_value_info("attention_mask", 7, ("batch", "time")))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axis"))
    total = onnx.helper.make_node("ReduceSum", ["attention_mask", "axis"], ["input_lengths"], "sum", keepdims=0)
    nodes = [total, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.output[1:]
    onnx.save(model, str(file))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "write", "batch"),
    [("layer", exact_with_mask, None), ("layer", traced_with_mask, 1), ("group", traced_with_mask, 1)],
)
def test_mask(
    norm: str, write: Callable[[Path, Path], None], batch: int | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """In transformers.js' layout. Any batch where the mask makes ragged ones exact, else one clip at a time."""
    checkpoint: Path = request.getfixturevalue(f"{norm}_checkpoint")
    folder = tmp_path / "js"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "onnx").mkdir()
    write(checkpoint, folder / "onnx" / "model.onnx")
    found = imported(folder, tmp_path / "b")
    assert found.spec.max_batch == batch
    points = {point["name"]: point for point in found.provenance["parity"]["points"]}
    assert all(point["passed"] for point in points.values()) and points["batch of 3, ragged"]["batch"] == 3


def changed(folder: Path, change: Change, source: Path = OPTIMUM) -> Path:
    """Optimum's files with a graph that is changed."""
    shutil.copytree(source, folder)
    model = onnx.load(str(folder / "model.onnx"))
    change(model)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


def rename_input(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = name

    return change


def fix_length(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16000


def old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 11


def quantised(model: onnx.ModelProto) -> None:
    model.graph.node[5].op_type = "MatMulInteger"


def of_one_engine(model: onnx.ModelProto) -> None:
    model.graph.node[5].domain = "com.microsoft"


def in_half(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def half_inside(model: onnx.ModelProto) -> None:
    """As converters write it that keep inputs and outputs in float32."""
    samples = [model.graph.input[0].name]
    model.graph.node.insert(5, onnx.helper.make_node("Cast", samples, ["half"], to=onnx.TensorProto.FLOAT16))


def other_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "scores"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rename_input("input_features"), "export the checkpoint that it was made from"),
        (rename_input("input_ids"), "its inputs are input_ids; .* input_values"),
        (fix_length, r"fixed shape \['batch_size', 16000\]; export it again"),
        (old_opset, "opset 11; 13 to 23 .* opset 17"),
        (quantised, r"quantised \(MatMulInteger\); name the file in float32"),
        (of_one_engine, r"only one engine has \(com\.microsoft"),
        (in_half, "float16; name the file in float32"),
        (half_inside, "float16; name the file in float32"),
        (other_output, "no output logits .*it has scores"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_right_is_refused(change: Change, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        imported(changed(tmp_path / "onnx", change), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_labels_of_another_model(tmp_path: Path) -> None:
    shutil.copytree(OPTIMUM, tmp_path / "onnx")
    vocabulary = json.loads((OPTIMUM / "vocab.json").read_text())
    config = {**json.loads((OPTIMUM / "config.json").read_text()), "vocab_size": 33}
    (tmp_path / "onnx" / "config.json").write_text(json.dumps(config))
    (tmp_path / "onnx" / "vocab.json").write_text(json.dumps({**vocabulary, "é": 32}))
    with pytest.raises(CheckpointError, match="32 scores for the 33 labels"):
        imported(tmp_path / "onnx", tmp_path / "b")


def test_frames_are_counted_against_config(tmp_path: Path) -> None:
    """A wrong stride in config.json moves every word: the gate counts frames at many lengths."""
    shutil.copytree(OPTIMUM, tmp_path / "onnx")
    config = json.loads((OPTIMUM / "config.json").read_text())
    config["conv_stride"] = [5, 2, 2, 2, 2, 2, 1]
    (tmp_path / "onnx" / "config.json").write_text(json.dumps(config))
    assert main(["export", str(tmp_path / "onnx"), str(tmp_path / "b")]) == 1
    assert not (tmp_path / "b").exists()


def test_incomplete_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(OPTIMUM, folder)
    (folder / "onnx").mkdir()
    shutil.move(folder / "model.onnx", folder / "onnx" / "model_quantized.onnx")
    with pytest.raises(CheckpointError, match=r"model_quantized\.onnx, but no model\.onnx in float32"):
        open_checkpoint(folder)
    assert isinstance(open_checkpoint(folder / "onnx" / "model_quantized.onnx"), OnnxCheckpoint)
    (folder / "preprocessor_config.json").unlink()
    assert main(["export", str(folder / "onnx" / "model_quantized.onnx"), str(tmp_path / "b")]) == 2
    assert "--normalize yes" in capsys.readouterr().err
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json beside it or in the folder above; put"):
        open_checkpoint(folder / "onnx" / "model_quantized.onnx")


def test_weights_in_a_file_that_is_missing(tmp_path: Path) -> None:
    shutil.copytree(OPTIMUM, tmp_path / "onnx")
    model = onnx.load(str(OPTIMUM / "model.onnx"))
    file = str(tmp_path / "onnx" / "model.onnx")
    onnx.save_model(model, file, save_as_external_data=True, location="model.onnx_data", size_threshold=64)
    assert imported(tmp_path / "onnx", tmp_path / "b").spec.max_batch == 1
    (tmp_path / "onnx" / "model.onnx_data").unlink()
    with pytest.raises(CheckpointError, match=r"in model\.onnx_data, which is not beside it"):
        imported(tmp_path / "onnx", tmp_path / "c")


def test_weights_for_torch_come_first(tmp_path: Path) -> None:
    shutil.copytree(FILES / "checkpoint-group-ctc", tmp_path / "both")
    shutil.copyfile(OPTIMUM / "model.onnx", tmp_path / "both" / "model.onnx")
    assert isinstance(open_checkpoint(tmp_path / "both"), Checkpoint)


@pytest.mark.slow
def test_no_torch_is_needed(tmp_path: Path) -> None:
    """A machine with onnx and onnxruntime alone can import such a file."""
    code = (
        "import sys\n"
        "sys.modules.update(torch=None, transformers=None, safetensors=None)\n"
        "from wav2edge.export.opening import export_checkpoint, open_checkpoint\n"
        "from pathlib import Path\n"
        f"export_checkpoint(open_checkpoint({str(OPTIMUM)!r}), Path({str(tmp_path / 'b')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert export_checkpoint is not None and Bundle.open(tmp_path / "b").spec.head == "ctc"


def test_the_digest_is_of_weights_in_other_files_too(tmp_path: Path) -> None:
    """Two trainings of one shape had one digest where their weights were beside the graph."""
    folder = Path(shutil.copytree(OPTIMUM, tmp_path / "original"))
    model = onnx.load(str(folder / "model.onnx"))
    inside = open_checkpoint(folder).digest()
    assert inside == sha256(folder / "model.onnx")
    onnx.save_model(model, str(folder / "model.onnx"), save_as_external_data=True, location="model.onnx_data")
    before = open_checkpoint(folder).digest()
    data = bytearray((folder / "model.onnx_data").read_bytes())
    data[-2] ^= 1
    (folder / "model.onnx_data").write_bytes(data)
    assert open_checkpoint(folder).digest() != before


def test_the_longest_clip_of_the_training_is_noted(tmp_path: Path) -> None:
    made = export_checkpoint(open_checkpoint(OPTIMUM), tmp_path / "made", trained_seconds=20)
    assert made.spec.trained_seconds == 20
    for length in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="trained_seconds"):
            export_checkpoint(open_checkpoint(OPTIMUM), tmp_path / "other", trained_seconds=length)
    assert not (tmp_path / "other").exists()
