"""The selftest sees what is wrong and passes what is right."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wav2edge.cli import main
from wav2edge.runtime import engines, selftest
from wav2edge.runtime.audio import loudness
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import SELFTEST, Bundle, Variant
from wav2edge.runtime.bundle.reference import Outputs, clip_key, output_key, read_archive, write_archive
from wav2edge.runtime.bundle.spec import ModelSpec
from wav2edge.runtime.bundle.write import write_manifest
from wav2edge.runtime.comparison import compare, text_of
from wav2edge.runtime.errors import BundleError, DeviceError, EngineError, InputError
from wav2edge.runtime.model import Model


def outputs_of(spec: ModelSpec, seed: int = 0) -> list[Outputs]:
    random = np.random.default_rng(seed)
    values: list[Outputs] = []
    for frames in (49, 99):
        logits = random.normal(0, 3, (frames, len(spec.labels))).astype(np.float32)
        entry: Outputs = {"clip": np.zeros(frames * 320 + 80, np.int16), "logits": logits}
        entry["text"] = np.array(text_of(entry, spec))
        values.append(entry)
    return values


def variant(precision: str) -> Variant:
    return Variant(precision, precision, {}, {}, {})


def with_noise(values: list[Outputs], size: float) -> list[Outputs]:
    random = np.random.default_rng(5)
    return [{"logits": v["logits"] + random.normal(0, size, v["logits"].shape).astype(np.float32)} for v in values]


@pytest.mark.parametrize(
    ("precision", "noise", "status"),
    [
        ("fp32", 0.0, "passed"),
        ("fp32", 1e-5, "passed"),
        ("fp32", 0.05, "failed"),
        ("fp16", 0.01, "passed"),
        ("fp16", 0.5, "failed"),
        ("int8", 0.3, "passed"),
        ("int8", 4.0, "failed"),
        ("a precision of tomorrow", 0.3, "passed"),
    ],
)
def test_tolerance_follows_the_precision(ctc_spec: ModelSpec, precision: str, noise: float, status: str) -> None:
    wanted = outputs_of(ctc_spec)
    outcome = compare(ctc_spec, variant(precision), with_noise(wanted, noise), wanted)
    assert outcome.status == status, outcome


def test_a_wrong_kernel_fails_even_int8(ctc_spec: ModelSpec) -> None:
    """What a broken kernel computes is unrelated to the reference, though its numbers look alike."""
    outcome = compare(ctc_spec, variant("int8"), outputs_of(ctc_spec, seed=1), outputs_of(ctc_spec))
    assert outcome.status == "failed" and "cosine" in outcome.reason


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_fails(ctc_spec: ModelSpec, bad: float) -> None:
    wanted = outputs_of(ctc_spec)
    found = with_noise(wanted, 0.0)
    found[1]["logits"][3, 4] = bad
    outcome = compare(ctc_spec, variant("int8"), found, wanted)
    assert (outcome.status, outcome.reason) == ("failed", "logits holds NaN or Inf")


def test_another_number_of_frames_fails(ctc_spec: ModelSpec) -> None:
    wanted = outputs_of(ctc_spec)
    found = [{"logits": entry["logits"][1:]} for entry in wanted]
    assert "shape" in compare(ctc_spec, variant("fp32"), found, wanted).reason


@pytest.fixture
def bundle(shapes_bundle: Bundle) -> Bundle:
    """The shapes-only bundle with an archive of what a real model might say."""
    arrays = {}
    for index, values in enumerate(outputs_of(shapes_bundle.spec)):
        arrays[clip_key(index)] = values["clip"]
        for name in ("logits", "text"):
            arrays[output_key(index, name)] = values[name]
    write_archive(shapes_bundle.path / SELFTEST, arrays)
    names = (*shapes_bundle.files, SELFTEST)
    return write_manifest(shapes_bundle.path, shapes_bundle.spec, shapes_bundle.variants, {}, names)


def test_null_engine_runs_and_fails(bundle: Bundle) -> None:
    """It computes nothing, so it must not pass."""
    reference = read_archive(bundle)
    outcome = selftest.check(Model(bundle, "null", bundle.variants[0]), reference)
    assert outcome.status == "failed" and outcome.seconds is not None
    assert outcome.cosine is not None and outcome.cosine < 0.5


def test_archive_round_trip(bundle: Bundle) -> None:
    wanted = outputs_of(bundle.spec)
    found = read_archive(bundle)
    assert len(found) == 2 and str(found[0]["text"]) == str(wanted[0]["text"])
    np.testing.assert_array_equal(found[1]["logits"], wanted[1]["logits"])


def test_bundle_without_selftest(shapes_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"lists no selftest\.npz"):
        read_archive(shapes_bundle)


def test_damaged_archive(bundle: Bundle) -> None:
    (bundle.path / SELFTEST).write_bytes(b"no archive")
    names = tuple(bundle.files)
    with pytest.raises(BundleError, match="damaged"):
        read_archive(write_manifest(bundle.path, bundle.spec, bundle.variants, {}, names))


def test_missing_engines_are_listed_and_a_named_one_is_an_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.get("openvino"), "unavailable", lambda: "it is not installed; install it")
    outcomes = list(selftest.run(bundle))
    missing = [outcome for outcome in outcomes if outcome.engine == "openvino"]
    assert [(outcome.status, outcome.reason) for outcome in missing] == [("missing", "it is not installed; install it")]
    assert all(outcome.engine != "null" for outcome in outcomes)
    with pytest.raises(EngineError, match="engine openvino"):
        list(selftest.run(bundle, "openvino"))
    with pytest.raises(InputError, match="no engine 'abacus'"):
        list(selftest.run(bundle, "abacus"))
    with pytest.raises(BundleError, match="no variant"):
        list(selftest.run(bundle, "null", "int3"))


def test_exit_codes(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(bundle.path)
    assert main(["selftest", path, "--engine", "null"]) == 1
    captured = capsys.readouterr()
    assert "failed: null fp32" in captured.out and "do not use it" in captured.err
    assert main(["selftest", path, "--engine", "null", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["status"] == "failed"
    monkeypatch.setattr(engines.get("onnxruntime"), "unavailable", lambda: "gone; bring it back")
    assert main(["selftest", path, "--engine", "onnxruntime"]) == 3
    assert main(["selftest", str(Path(path) / "nowhere")]) == 2


def test_outcomes_are_plain_values(bundle: Bundle) -> None:
    outcome = next(iter(selftest.run(bundle, "null")))
    assert json.loads(json.dumps(dataclasses.asdict(outcome)))["engine"] == "null"


@pytest.mark.parametrize("name", ["fp32.frontend.onnx", "fp32.encoder.onnx"])
def test_the_stages_of_long_recordings_are_tested_too(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A swapped stage passed, because only the whole graph was run."""
    pytest.importorskip("onnxruntime", reason="the stages run on ONNX Runtime")
    copy = tmp_path / "bundle"
    shutil.copytree(embedded.bundle_path(), copy)
    command = ["selftest", str(copy), "--engine", "onnxruntime", "--variant", "fp32"]
    assert main(command) == 0
    damaged = bytearray((copy / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (copy / name).write_bytes(damaged)
    capsys.readouterr()
    assert main(command) == 2
    assert "wrong SHA-256" in capsys.readouterr().err


def test_stages_that_compute_something_else_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the stages run on ONNX Runtime")
    bundle = Bundle.open(embedded.bundle_path())
    monkeypatch.setattr(loudness.Loudness, "normalized", lambda self, samples: samples)
    (outcome,) = selftest.run(bundle, "onnxruntime", "fp32")
    assert outcome.status == "failed"
    assert outcome.reason.startswith("in stages")


def _archive(arrays: dict[str, Any], shape: bytes = b"", more: bytes = b"") -> bytes:
    """An .npz whose first array announces another shape, with an entry more."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            inner = io.BytesIO()
            np.lib.format.write_array(inner, np.asarray(array))
            data = inner.getvalue()
            archive.writestr(f"{name}.npy", data.replace(b"'shape': (", b"'shape': (" + shape) if shape else data)
        if more:
            archive.writestr("more.npy", more)
    return file.getvalue()


@pytest.mark.parametrize("what", ["bomb", "announces more", "header", "type", "axes", "text for numbers", "nan"])
def test_an_archive_of_unknown_origin(bundle: Bundle, what: str) -> None:
    """Memory was allocated for what headers announce, and clips of any type went into the engine."""
    arrays: dict[str, Any] = dict(np.load(bundle.file(SELFTEST)).items())
    shape, more = b"", b""
    if what == "bomb":
        more = bytes(600 << 20)
    elif what == "announces more":
        shape = b"999999999, "
    elif what == "header":
        shape = b"(((\\"
    elif what == "type":
        arrays[clip_key(0)] = arrays[clip_key(0)].astype(np.complex64)
    elif what == "axes":
        arrays[output_key(0, "logits")] = arrays[output_key(0, "logits")][0]
    elif what == "text for numbers":
        arrays[output_key(0, "logits")] = np.array("x")
    else:
        arrays[output_key(0, "logits")][0, 0] = np.nan
    data = _archive(arrays, shape, more)
    (bundle.path / SELFTEST).write_bytes(data)
    document = json.loads((bundle.path / "bundle.json").read_text())
    document["files"][SELFTEST] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle.path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"damaged|do not trust it"):
        read_archive(Bundle.open(bundle.path))


@pytest.mark.parametrize("command", [["selftest"], ["bench", "--quick"], ["transcribe", "talk.wav"]])
def test_commands_agree_about_a_bundle_without_variants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """The selftest and the benchmark named engines that are missing, as if installing one helped."""
    path = tmp_path / "none"
    shutil.copytree(embedded.bundle_path(), path)
    document = json.loads((path / "bundle.json").read_text("utf-8"))
    (path / "bundle.json").write_text(json.dumps({**document, "variants": []}))
    (tmp_path / "talk.wav").write_bytes(b"")
    words = [str(tmp_path / word) if word == "talk.wav" else word for word in command]
    assert main([*words, "-m", str(path)]) == 2
    assert capsys.readouterr().err == f"wav2edge: {path}: it holds no variant; export the model again\n"


def test_the_reasons_why_nothing_could_run_name_engines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "missing", lambda name: "not here")
    assert main(["selftest", "-m", str(embedded.bundle_path())]) == 3
    assert "nothing could run here (onnxruntime: not here; " in capsys.readouterr().err


def test_a_device_that_an_engine_lacks_is_missing_not_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """`selftest --device cuda:0` without a GPU advised against using the machine, with the code of a wrong result."""
    engines.library("onnxruntime")
    assert main(["selftest", "--device", "cuda:0"]) == 2
    assert "--device names a device of one engine; add --engine" in capsys.readouterr().err
    assert main(["selftest", "--engine", "onnxruntime", "--device", "nothing:0", "--variant", "fp32"]) == 3
    error = capsys.readouterr().err
    assert "onnxruntime has no provider 'nothing:0' here" in error and "do not use it" not in error
    bundle = embedded.resolve(None)
    with pytest.raises(DeviceError, match="no provider"):
        list(selftest.run(bundle, "onnxruntime", "fp32", device="nothing:0"))
    every = [result for result in selftest.run(bundle, None, "fp32", device="nothing:0") if result.variant]
    assert every and {result.status for result in every} <= {"missing", "refused"}
