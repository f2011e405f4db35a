"""Bad input and bad luck: one line, the exit code, and the bundle as it was."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wav2edge.calibration import quantize as library
from wav2edge.cli import main
from wav2edge.graphs import storage
from wav2edge.runtime import remedies
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import InputError


def digest(bundle: Bundle) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(bundle.path.iterdir())}


def manifest(folder: Path, rows: list[tuple[np.ndarray, str | None]], name: str = "rows.jsonl") -> Path:
    lines = []
    for index, (samples, text) in enumerate(rows):
        soundfile.write(folder / f"{name}{index}.wav", samples, 16000)
        lines.append(json.dumps({"path": f"{name}{index}.wav", **({} if text is None else {"text": text})}))
    (folder / name).write_text("\n".join(lines), "utf-8")
    return folder / name


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is refused keeps its work for the next, which would say that it goes on with it."""
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)


def the_error(lines: str) -> str:
    """The one line that says what is wrong; before it there may be the plan of the work, and nothing else."""
    plan, _, said = lines.strip().rpartition("\n")
    assert "\n" not in plan and (not plan or "calibrating on" in plan)
    return said


def refused(bundle: Bundle, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command; it must exit with 2, say one line, and leave the bundle and its folder alone."""
    before, beside = digest(bundle), sorted(bundle.path.parent.iterdir())
    assert main(["quantize", str(bundle.path), *map(str, arguments)]) == 2
    said = the_error(capsys.readouterr().err)
    assert digest(bundle) == before and sorted(bundle.path.parent.iterdir()) == beside
    return said


def test_no_clips(
    own_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    assert "no usable row" in refused(own_bundle, capsys, "--speech", empty)
    assert "no such manifest" in refused(own_bundle, capsys, "--speech", empty / "none.jsonl")


def test_silence_only(
    own_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("silence")
    path = manifest(folder, [(np.zeros(16000, np.float32), "nothing here")] * 2)
    assert "silence only" in refused(own_bundle, capsys, "--speech", path)


def test_dev_without_text_or_with_few_words(
    own_bundle: Bundle, noise: np.ndarray, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("dev")
    wordless = manifest(folder, [(noise, None)], "wordless.jsonl")
    assert "no text" in refused(own_bundle, capsys, "--speech", wordless, "--dev", wordless)
    assert "name a dev manifest" in refused(own_bundle, capsys, "--speech", wordless)
    few = manifest(folder, [(noise, "only three words")], "few.jsonl")
    said = refused(own_bundle, capsys, "--speech", wordless, "--dev", few)
    assert "3 words to judge on" in said and "20 or more" in said


def test_wrong_names(own_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(own_bundle, capsys, "--variants", "int8-u9s9")
    assert "int8-u9s9" in said and "int8-u8s8" in said
    assert "matches no layer" in refused(own_bundle, capsys, "--keep-float", "conv_layers.[77]")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--longest", ("nan", "inf", "0", "-1")),
        ("--max-wer-rise", ("nan", "inf", "-1")),
        ("--min-token-agreement", ("nan", "inf", "101")),
    ],
)
def test_numbers_that_make_no_sense(capsys: pytest.CaptureFixture[str], option: str, values: tuple[str, ...]) -> None:
    """Said before anything is opened: there is no such bundle."""
    for value in values:
        assert main(["quantize", "no-such-bundle", f"{option}={value}"]) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith(f"wav2edge: {option} {value}: give ") and "\n" not in said


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "jiwer"])
def test_a_package_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    assert main(["quantize", "no-such-bundle"]) == 3
    said = capsys.readouterr().err.strip()
    assert said == f"wav2edge: quantize needs {missing}; install it with `{remedies.install('calibrate', 'eval')}`"


def test_speech_that_judges_what_it_calibrated(own_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(own_bundle, capsys, "--speech", "built-in", "--dev", embedded.clips_manifest())
    assert "every recording of dev is in speech too" in said


def test_a_bundle_that_cannot_be_written(own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(own_bundle)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="cannot be written"):
        library.quantize(own_bundle, "built-in")
    assert digest(own_bundle) == before


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    own_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--report" in refused(own_bundle, capsys, "--report", own_bundle.path.parent / "none" / "report.html")


# Where the disk is full: at the graph that observes the clips, and at the weights of a finished variant.
@pytest.mark.parametrize("arguments", [["int8-u8s8"], ["int8-dynamic", "--no-search", "--no-smooth"]])
def test_a_full_disk_midway(own_bundle: Bundle, arguments: list[str]) -> None:
    """The kernel refuses every file over 100 kB, as a full disk would: in a process of its own."""
    before, beside = digest(own_bundle), sorted(own_bundle.path.parent.iterdir())

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-m", "wav2edge", "quantize", str(own_bundle.path), "--variants", *arguments],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in the_error(done.stderr)
    assert digest(own_bundle) == before and sorted(own_bundle.path.parent.iterdir()) == beside


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_midway(own_bundle: Bundle) -> None:
    """Killed when it calibrates and when it judges what it wrote; the next run takes away what was left."""
    before, beside = digest(own_bundle), sorted(own_bundle.path.parent.iterdir())
    command = [sys.executable, "-m", "wav2edge", "quantize", str(own_bundle.path), "--variants", "int8-dynamic"]
    for arguments, sign in (([], ".*.quantize.*"), (["--no-search", "--no-smooth"], ".*.quantize.*/int8-dynamic.onnx")):
        process = subprocess.Popen([*command, *arguments])
        while not list(own_bundle.path.parent.glob(sign)) and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        Bundle.open(own_bundle.path).verify(own_bundle.variant("fp32"))
        assert digest(own_bundle) == before
        assert len(list(own_bundle.path.parent.glob(".*.quantize.*"))) == 1, "of this run, not of the one before"
    report = own_bundle.path.parent / "report.html"
    assert main([*command[3:], "--no-search", "--no-smooth", "--force", "--report", str(report)]) == 0
    assert sorted(own_bundle.path.parent.iterdir()) == sorted([*beside, report])


def test_a_damaged_model_is_refused(
    own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A NaN weight: fp32 itself answers NaN, and nothing made from it may pass."""
    model = storage.load_model(own_bundle.graph(own_bundle.variant("fp32"), "full"))
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if "lm_head.weight" in tensor.name:
            spoiled = numpy_helper.to_array(tensor).copy()
            spoiled[0, 0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(spoiled, tensor.name))
    variant = own_bundle.variant("fp32")
    storage.save_model(model, own_bundle.path / variant.graphs["full"], variant.data[0])
    monkeypatch.setattr(Bundle, "verify", lambda *_: None)
    said = refused(Bundle.open(own_bundle.path), capsys)
    assert "NaN" in said
