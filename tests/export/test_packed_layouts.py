"""``pack --for`` another tool: what is written, refused and replaced; test_clients.py runs it in the tools."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from wav2edge.cli import main
from wav2edge.export import layouts
from wav2edge.runtime.audio import read
from wav2edge.runtime.bundle import embedded, shipped
from wav2edge.runtime.bundle.read import MANIFEST, Bundle
from wav2edge.runtime.bundle.spec import Convolution, ModelSpec
from wav2edge.runtime.errors import InputError
from wav2edge.runtime.heads import ctc

ALL = ("onnx-asr", "optimum", "sherpa-onnx", "static:5s", "transformers.js", "triton", "triton:ragged")


def bundle_with(tmp_path: Path, **changes: object) -> Bundle:
    """The embedded bundle with another spec; the graphs stay."""
    path = tmp_path / "changed"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(embedded.bundle_path(), path)
    document = json.loads((path / MANIFEST).read_text("utf-8"))
    spec = dataclasses.replace(ModelSpec.from_json(document["spec"]), **changes)  # type: ignore[arg-type]
    document["spec"] = spec.to_json()
    (path / MANIFEST).write_text(json.dumps(document), "utf-8")
    return Bundle.open(path)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return embedded.resolve(None)


@pytest.fixture(scope="module")
def packed(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every layout of the embedded bundle, by name."""
    folder = tmp_path_factory.mktemp("packed")
    found = {name: folder / name.replace(":", "-") for name in ALL}
    for name, path in found.items():
        layouts.pack(bundle, name, path)
    return found


@pytest.mark.parametrize("has_one", [False, True])
def test_a_folder_is_packed_from_inside(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_one: bool
) -> None:
    """``pack … ../d`` inside of ``d`` replaced it, and then said that it could not be written."""
    (tmp_path / "d").mkdir()
    if has_one:
        layouts.pack(bundle, "onnx-asr", tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    packed = layouts.pack(bundle, "onnx-asr", Path("../d"), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert (tmp_path / "d" / layouts.MARK).is_file() and packed.variants


@pytest.mark.parametrize("name", ALL)
def test_a_folder_says_how_it_is_run_and_what_it_was_made_of(
    packed: dict[str, Path], bundle: Bundle, name: str
) -> None:
    folder = packed[name]
    page = (folder / "README.md").read_text("utf-8")
    assert re.search(r"```(python|js)\n", page) and folder.name in page
    made = json.loads((folder / layouts.MARK).read_text("utf-8"))
    assert made["layout"] == name and made["variants"]["fp32"] == dict(bundle.variant("fp32").sha256)
    for code in re.findall(r"```python\n(.+?)```", page, re.S):
        compile(code, name, "exec")
    for file in re.findall(r"\| `(.+?)` \|", page):
        ort.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])


def test_the_command_writes_a_folder_and_says_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "for-sherpa"
    assert main(["pack", str(embedded.bundle_path()), "--for", "sherpa-onnx", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "fp32 (model.onnx), int8-u8s8 (model.int8.onnx)" in out and "pip install sherpa-onnx" in out
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "model.onnx", "model.int8.onnx", "tokens.txt", layouts.MARK,
    }  # fmt: skip
    assert (folder / "tokens.txt").read_text("utf-8").splitlines()[:5] == [
        "<blk> 0",
        "<s> 1",
        "</s> 2",
        "<unk> 3",
        "▁ 4",
    ]
    assert main(["pack", str(embedded.bundle_path()), "--for", "sherpa-onnx", str(folder), "--wheel", "x.whl"]) == 2
    assert "options for boards are of no use" in capsys.readouterr().err
    assert main(["pack", str(embedded.bundle_path()), "--for", "static", str(tmp_path / "a")]) == 2
    assert "name the length in seconds, such as static:10s" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_an_archive_has_the_same_bytes_again(bundle: Bundle, tmp_path: Path, name: str) -> None:
    first = layouts.pack(bundle, "onnx-asr", tmp_path / name, variants=["int8-u8s8"]).path
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    again = layouts.pack(bundle, "onnx-asr", tmp_path / name, variants=["int8-u8s8"], overwrite=True).path
    assert hashlib.sha256(again.read_bytes()).hexdigest() == digest
    with tarfile.open(again) as archive:
        assert archive.getnames() == [
            "a/README.md", "a/config.json", "a/model.int8.onnx", "a/vocab.txt", f"a/{layouts.MARK}",
        ]  # fmt: skip
        assert {(entry.mtime, entry.uid) for entry in archive.getmembers()} == {(0, 0)}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_there_is_replaced_only_where_pack_wrote_it(bundle: Bundle, tmp_path: Path) -> None:
    own, mine = tmp_path / "own", tmp_path / "mine"
    layouts.pack(bundle, "triton", own, variants=["int8-u8s8"])
    with pytest.raises(InputError, match="already exists"):
        layouts.pack(bundle, "triton", own)
    layouts.pack(bundle, "onnx-asr", own, variants=["int8-u8s8"], overwrite=True)
    assert (own / "vocab.txt").exists() and not (own / "models").exists()
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="was not written by pack"):
        layouts.pack(bundle, "triton", mine, overwrite=True)
    with pytest.raises(InputError, match="is a file; name a folder"):
        layouts.pack(bundle, "triton", mine / "letter.txt", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "own"]
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]


def test_a_link_to_a_folder_is_followed(bundle: Bundle, tmp_path: Path) -> None:
    """One to an empty folder was an error, and one to a packed folder was replaced, which left the old files there."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for overwrite in (False, True):
        layouts.pack(bundle, "static:1s", tmp_path / "link", overwrite=overwrite)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "wav2edge.json").is_file()
        (tmp_path / "real" / "README.md").unlink()


def test_a_folder_with_files_of_others_is_not_replaced(bundle: Bundle, tmp_path: Path) -> None:
    """They were removed with what pack had written."""
    folder = tmp_path / "model"
    layouts.pack(bundle, "sherpa-onnx", folder, variants=["int8-u8s8"])
    (folder / "recordings").mkdir()
    note = folder / "recordings" / "note.txt"
    note.write_text("dear")
    with pytest.raises(InputError, match=r"recordings/note\.txt was not written by pack"):
        layouts.pack(bundle, "onnx-asr", folder, variants=["int8-u8s8"], overwrite=True)
    assert note.read_text() == "dear" and (folder / "tokens.txt").exists()
    note.unlink()
    layouts.pack(bundle, "onnx-asr", folder, variants=["int8-u8s8"], overwrite=True)
    (folder / layouts.MARK).write_text("{}")
    with pytest.raises(InputError, match=r"README\.md was not written by pack"):
        layouts.pack(bundle, "onnx-asr", folder, overwrite=True)


def test_nothing_is_left_of_a_layout_that_fails(bundle: Bundle, tmp_path: Path) -> None:
    changed = bundle_with(tmp_path)
    (changed.path / "int8-u8s8.data").write_bytes(b"x" * changed.variant("int8-u8s8").sizes["int8-u8s8.data"])
    with pytest.raises(InputError, match="wrong SHA-256"):
        layouts.pack(changed, "sherpa-onnx", tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("sherpa-onnx", {"normalize": False}, "do_normalize=false"),
        ("sherpa-onnx", {"time": (Convolution(400, 640, 0),), "feature_steps": 1}, "counts 20 ms"),
        ("sherpa-onnx", {"sample_rate": 8000}, "feeds 16000 Hz"),
        ("onnx-asr", {"time": (Convolution(400, 200, 0),), "feature_steps": 1}, "whole hundredths of a second"),
        ("onnx-asr", {"tokenizer": "phoneme", "delimiter": None}, "phonemes without a delimiter"),
        ("optimum", {"tokenizer": "piece"}, "pieces of words"),
        ("transformers.js", {"frontend": "log-mel"}, "computes log-mel features"),
        ("optimum", {"max_batch": 1}, "takes one clip at a time and has no mask"),
        ("static:10s", {"max_batch": 1}, "takes one clip at a time and has no mask"),
        ("triton", {"max_batch": 1}, "takes one clip at a time and has no mask"),
        ("static:0.05s", {}, "needs at least 1040"),
        ("static:5", {}, "name the length in seconds"),
        ("triton:flat", {}, "write triton, or triton:ragged"),
        ("optimum:x", {}, "takes nothing after a colon"),
        ("vosk", {}, "no layout 'vosk'; there are onnx-asr"),
    ],
)
def test_what_a_client_cannot_do_right_is_refused(
    tmp_path: Path, name: str, changes: dict[str, object], reason: str
) -> None:
    changed = bundle_with(tmp_path, **changes)
    with pytest.raises(InputError, match=reason):
        layouts.pack(changed, name, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("label", ["\n", "two\rlines"])
def test_a_label_that_would_be_two_lines_is_refused(tmp_path: Path, label: str) -> None:
    """Every label after it got the index of the one before in labels.txt, with exit code 0."""
    changed = bundle_with(tmp_path, labels=(*embedded.resolve(None).spec.labels[:-1], label))
    with pytest.raises(InputError, match="has a line break"):
        layouts.pack(changed, "triton", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_labels_that_would_be_one_are_refused(tmp_path: Path) -> None:
    labels = (*embedded.resolve(None).spec.labels[:-1], "A")
    changed = bundle_with(tmp_path, labels=labels, head_options=ctc.Options(lowercase=True))
    with pytest.raises(InputError, match="cannot tell two labels apart that are written 'a'"):
        layouts.pack(changed, "onnx-asr", tmp_path / "made")


def test_variants(bundle: Bundle, tmp_path: Path) -> None:
    both = ["int8-u8s8", "int8-s8s8"]
    with pytest.raises(InputError, match="would have one file name; pack one"):
        layouts.pack(bundle, "onnx-asr", tmp_path / "a", variants=both)
    with pytest.raises(InputError, match="name one variant"):
        layouts.pack(bundle, "triton", tmp_path / "a", variants=both)
    made = layouts.pack(bundle, "static:1s", tmp_path / "a", variants=both)
    assert [variant.name for variant in made.variants] == both
    assert {path.name for path in (tmp_path / "a").glob("*.onnx")} == {"int8-u8s8.onnx", "int8-s8s8.onnx"}


def test_int8_with_the_rest_in_bfloat16_is_for_no_client(bundle: Bundle, tmp_path: Path) -> None:
    """Its graph is that of int8-s8s8; a client would compute in FP32 what the gate judged in bfloat16."""
    signed = bundle.variant("int8-s8s8")
    mixed = dataclasses.replace(signed, name="int8-s8s8-bf16", scheme="s8s8-bf16")
    changed = dataclasses.replace(bundle, variants=(bundle.variant("fp32"), mixed, signed))
    for layout in ("onnx-asr", "static:1s"):
        with pytest.raises(InputError, match="no client computes the rest in bfloat16; name int8-s8s8"):
            layouts.pack(changed, layout, tmp_path / "named", variants=[mixed.name])
    made = layouts.pack(changed, "onnx-asr", tmp_path / "chosen")
    assert [variant.name for variant in made.variants] == ["fp32", "int8-s8s8"]


@pytest.mark.parametrize("variant", ["int8-u8s8", "int8-s8s8"])
@pytest.mark.parametrize("seconds", [0.24, 1.9])
def test_int8_of_fixed_length_gives_the_numbers_of_its_own_run(
    bundle: Bundle, clips: list[tuple[Path, str]], tmp_path: Path, variant: str, seconds: float
) -> None:
    """ONNX Runtime joined product and bias where shapes were fixed, and summed short clips' convolutions otherwise.

    Its GELU differs in the last bit between lengths, which may round a single INT8 value otherwise.
    """
    made = layouts.pack(bundle, "static:2s", tmp_path / "a", variants=[variant])
    options, joined = {"providers": ["CPUExecutionProvider"]}, variant == "int8-s8s8"
    without = ["MatMulAddFusion", "SkipLayerNormFusion"] if joined else []
    static = ort.InferenceSession(str(made.path / f"{variant}.onnx"), disabled_optimizers=without, **options)
    own = ort.InferenceSession(str(bundle.graph(bundle.variant(variant), "full")), **options)
    clip = read.load(next(path for path, _ in clips if path.stem == "smart-mirror"), 16000)[: round(seconds * 16000)]
    lengths = np.array([len(clip)])
    expected = own.run(["logits"], {"input_values": clip[None], "input_lengths": lengths})[0]
    padded = np.random.default_rng(0).normal(size=(1, 32000)).astype(np.float32)
    padded[0, : len(clip)] = clip
    found = static.run(["logits"], {"input_values": padded, "input_lengths": lengths})[0]
    found = found[:, : expected.shape[1]]
    assert (found == expected).all(axis=2).mean() > 0.95
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.005 * np.ptp(expected))
    assert ("disabled_optimizers" in (made.path / "README.md").read_text("utf-8")) == joined


def test_no_torch_is_needed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from wav2edge.export import layouts; "
        "from wav2edge.runtime.bundle import embedded; "
        "layouts.pack(embedded.resolve(None), 'optimum', Path(sys.argv[1])); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def triton_schema() -> ModuleType:
    """Tritonclient's compiled model_config.proto, without the gRPC client around it."""
    spec = importlib.util.find_spec("tritonclient")
    assert spec is not None and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    found = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["triton", "triton:ragged"])
def test_the_configuration_fits_tritons_schema_and_the_graph(
    packed: dict[str, Path], bundle: Bundle, name: str
) -> None:
    from google.protobuf import text_format

    folder = packed[name] / "models" / packed[name].name
    config = text_format.Parse((folder / "config.pbtxt").read_text("utf-8"), triton_schema().ModelConfig())
    session = ort.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    fed = [item.name for item in config.input] + [n for item in config.batch_input for n in item.target_name]
    assert config.name == folder.name and config.backend == "onnxruntime" and config.max_batch_size > 0
    # The backend refuses a model whose number of inputs differs, and one without an output that the file names.
    assert sorted(fed) == sorted(inputs) and [item.name for item in config.output] == list(outputs)
    for item in config.input:
        # A ragged input must be exactly [-1]; any other has the batch in front of the dimensions of one clip.
        batch = 0 if item.allow_ragged_batch else 1
        dims = list(item.reshape.shape) if item.HasField("reshape") else list(item.dims)
        assert len(inputs[item.name].shape) == batch + len(dims)
    for item in config.output:
        dims = list(item.reshape.shape) if item.HasField("reshape") else list(item.dims)
        assert len(outputs[item.name].shape) == 1 + len(dims)
        if item.name == "logits":
            assert dims == [-1, len(bundle.spec.labels)]
    assert [item.allow_ragged_batch for item in config.input] == [name == "triton:ragged"] * len(config.input)


def as_the_server_feeds(
    folder: Path, requests: list[NDArray[np.float32]]
) -> tuple[ort.InferenceSession, dict[str, NDArray[np.generic]]]:
    """The session of a ragged model, and the inputs that Triton's backend makes of requests [clips, samples].

    Ragged inputs: all elements in one row; batch_input BATCH_ITEM_SHAPE: the shape of each clip, without the batch
    (backend_input_collector.cc, SetBatchItemShape).
    """
    from google.protobuf import text_format

    schema = triton_schema()
    model = folder / "models" / folder.name
    config = text_format.Parse((model / "config.pbtxt").read_text("utf-8"), schema.ModelConfig())
    session = ort.InferenceSession(str(model / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
    feeds: dict[str, NDArray[np.generic]] = {}
    for item in config.input:
        assert item.allow_ragged_batch
        feeds[item.name] = np.concatenate([request.reshape(-1) for request in requests])
    for item in config.batch_input:
        assert item.kind == schema.BatchInput.Kind.BATCH_ITEM_SHAPE and item.data_type == schema.TYPE_INT32
        shapes = [request.shape[1:] for request in requests for _ in range(request.shape[0])]
        for name in item.target_name:
            feeds[name] = np.array(shapes, dtype=np.int32)
    return session, feeds


def test_a_ragged_batch_gives_each_clip_its_own_result(packed: dict[str, Path], clips: list[tuple[Path, str]]) -> None:
    samples = [read.load(path, 16000)[: 16000 * (n + 1)] for n, (path, _) in enumerate(clips[:4])]
    pair = np.stack([samples[1][:20000], samples[2][:20000]])
    requests = [*(clip[None] for clip in samples), np.zeros((1, 300), np.float32), pair]
    session, feeds = as_the_server_feeds(packed["triton:ragged"], requests)
    logits, lengths = (np.asarray(values) for values in session.run(["logits", "output_lengths"], feeds))
    every = [*samples, np.zeros(300, np.float32), *pair]
    assert len(logits) == len(every) and lengths[len(samples)] == 0
    for row, length, clip in zip(logits, lengths, every):
        _, alone = as_the_server_feeds(packed["triton:ragged"], [clip[None]])
        expected = np.asarray(session.run(["logits"], alone)[0])[0]
        assert row[: len(expected)].argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()
        np.testing.assert_allclose(row[:length], expected[:length], atol=1e-4)
        assert not row[length:].argmax(axis=1).any()


def test_the_readme_of_a_fixed_length_runs(packed: dict[str, Path], workspace: Path) -> None:
    page = (packed["static:5s"] / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.+?)```", page, re.S)
    shutil.copytree(packed["static:5s"], workspace / packed["static:5s"].name)
    code = code.replace("[0]\n", "[0][:70000]\n", 1)
    done = subprocess.run([sys.executable, "-c", code], cwd=workspace, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "array" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["transformers.js", "optimum", "triton"])
def test_a_classifier_takes_clips_shorter_than_a_frame(tmp_path: Path, name: str) -> None:
    """The client's error was that of a convolution, ``Invalid input shape: {100}``."""
    folder = layouts.pack(
        Bundle.open(shipped.directory_of("keyword")), name, tmp_path / "made", variants=["int8-u8s8"]
    ).path
    [graph] = folder.rglob("*.onnx")
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    feeds = {"input_values": np.full((1, 100), 0.1, np.float32)}
    if "input_lengths" in {value.name for value in session.get_inputs()}:
        feeds["input_lengths"] = np.array([100])
    assert np.isfinite(session.run(None, feeds)[0]).all()


def test_an_unknown_name_says_all_that_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(embedded.bundle_path()), "--for", "sherpa", str(tmp_path / "made")]) == 2
    line = capsys.readouterr().err
    assert "--for sherpa: no board or tool of this name" in line and "raspberry-pi-5" in line and "sherpa-onnx" in line
