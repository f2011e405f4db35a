"""``wav2edge bench`` and ``build`` as a user runs them, on the null engine."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from wav2edge.cli import main
from wav2edge.measure.bench.worker import Worker
from wav2edge.runtime.audio.parts import RecordingPart
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle
from wav2edge.runtime.errors import EngineError

CLIP = embedded.clips_manifest().parent / "coffee-mocha.opus"
FAST = ["--seconds", "0.5,1", "--runs", "4", "--limit", "1", "--threads", "1"]


@pytest.fixture
def null(shapes_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    return ["bench", "-m", str(shapes_bundle.path), "--engine", "null", *FAST]


def test_a_report_folder_holds_every_form(null: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "report"
    assert main([*null, "--report", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "0.5 s p50" in out and "1 s p99" in out
    assert sorted(path.name for path in folder.iterdir()) == ["bench.csv", "bench.json", "bench.md", "index.html"]
    assert len(list(csv.DictReader((folder / "bench.csv").open()))) == 2
    assert json.loads((folder / "bench.json").read_text())["results"][0]["name"] == "null/fp32"
    assert "<svg" in (folder / "index.html").read_text()


def test_json_alone_is_json_alone(null: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*null, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"][0]["timings"]) == 2


def test_two_runs_are_set_side_by_side(null: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        assert main([*null, "--json", str(tmp_path / f"{name}.json")]) == 0
    capsys.readouterr()
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("null ")]
    assert len(rows) == 2
    assert all("×" in row for row in rows)


def test_tune_keeps_the_choice_and_a_budget_can_refuse(
    null: list[str], shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wav2edge.devices import detect, tuning
    from wav2edge.runtime import engines

    monkeypatch.setattr(engines.get("null"), "PURPOSE", "inference")
    assert main([*null, "--tune"]) == 0
    assert "now runs fp32 on null here" in capsys.readouterr().err
    kept = tuning.load(shapes_bundle, detect.detect())
    assert kept is not None
    assert (kept.chosen.engine, kept.chosen.variant, kept.chosen.threads) == ("null", "fp32", 1)
    assert main([*null, "--tune", "--max-latency", "0.000000001"]) == 1
    assert "nothing stays inside" in capsys.readouterr().err


def test_tune_never_keeps_an_engine_for_testing(
    null: list[str], shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """The null engine, which gives no words, became the default because it is the fastest."""
    from wav2edge.devices import detect, tuning

    assert main([*null, "--tune"]) == 1
    assert "add an engine for inference" in capsys.readouterr().err
    assert tuning.load(shapes_bundle, detect.detect()) is None


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (["--baseline", "torch/fp64"], 2, "torch/fp64: it is not among what is measured; choose from null/fp32"),
        (["--max-latency", "1"], 2, "add --tune"),
        (["--tune", "--max-wer-rise", "1"], 2, "add --manifest"),
        (["--with", "kaldi", "x"], 2, "only whisper is known"),
        (["--with", "whisper", "/nowhere"], 2, "no model.bin"),
        (["--variant", "int3"], 2, "no variant 'int3'"),
        (["--checkpoint", "/nowhere"], 2, "--checkpoint /nowhere: no such directory"),
        (["--engine", "tflite"], 2, "no engine 'tflite'"),
        (["--json", "/nowhere/at/all.json"], 2, "no such folder"),
        (["--csv", "x.csv", "--markdown", "./x.csv"], 2, "--csv and --markdown: both name ./x.csv"),
        (["--manifest", "m.jsonl", "--json=m.jsonl"], 2, "--manifest and --json: both name m.jsonl"),
        (["--clips", "3"], 2, "--clips picks recordings of a manifest; add --manifest"),
        (["--device", "CPU", "--tune"], 2, "--tune chooses an engine and variant for every command, not a device"),
        (["--manifest", "r/bench.csv", "--report", "r"], 2, "--manifest and --report: both name r/bench.csv"),
        (["--compare", "/nowhere/a.json", "/nowhere/b.json"], 2, "-m is for measuring"),
    ],
)
def test_wrong_usage_is_one_line(
    null: list[str], capsys: pytest.CaptureFixture[str], extra: list[str], code: int, words: str
) -> None:
    assert main([*null, *extra]) == code
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("extra", "words"), [([], "cannot be read as JSON"), (["--csv", "x.csv"], "--csv is for measuring")]
)
def test_reports_to_compare_are_checked(capsys: pytest.CaptureFixture[str], extra: list[str], words: str) -> None:
    assert main(["bench", "--compare", "/nowhere/a.json", "/nowhere/b.json", *extra]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        ["--engine", "null"],
        ["--variant", "fp32"],
        ["--threads", "2"],
        ["--device", "CPU"],
        ["--seconds", "1"],
        ["--manifest", "m.jsonl"],
        ["--clips", "3"],
        ["--checkpoint", "/nowhere"],
        ["--with", "whisper", "/nowhere"],
        ["--quick"],
        ["--runs", "3"],
        ["--limit", "1"],
        ["--baseline", "null/fp32"],
        ["--json"],
        ["--markdown", "x.md"],
        ["--report", "r"],
        ["--tune"],
        ["--max-wer-rise", "0"],
        ["--max-latency", "1"],
        ["my-bundle"],
    ],
)
def test_nothing_goes_with_compare(
    null: list[str], tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Most options were ignored without a word, as if they had changed what is compared."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text("not looked at")
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), *option]) == 2
    shown = option[0] if option[0].startswith("--") else "-m"
    assert f"{shown} is for measuring" in capsys.readouterr().err


def manifest_of(folder: Path, *names: str) -> str:
    """A manifest of a clip that ships and of other recordings in its folder."""
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps({"path": name, "text": "one"}) + "\n" for name in (*names, str(CLIP))))
    return str(path)


def test_rows_that_cannot_be_used_are_named_and_the_exit_code_is_2(
    null: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ended with nothing, or with 0 and without the figure of any engine."""
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    manifest = manifest_of(tmp_path, "noise.wav", "gone.wav")
    assert main([*null, "--manifest", manifest, "--report", str(tmp_path / "r")]) == 2
    out, error = capsys.readouterr()
    assert "WER: of 1 of 3 recordings; the others could not be used" in out and "100.0 %" in out
    assert error.count("noise.wav") == error.count("gone.wav") == 1
    assert f"2 rows of {manifest} could not be used; the figures are without them" in error
    assert len(json.loads((tmp_path / "r" / "bench.json").read_text())["problems"]) == 2
    assert main([*null, "--manifest", manifest_of(tmp_path)]) == 0


def test_an_engine_that_fails_on_the_manifest_gives_exit_code_3(
    null: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure that was asked for was missing, and the exit code 0."""

    def fail(worker: Worker, audio: RecordingPart) -> str:
        raise EngineError("NaN or Inf in its output")

    monkeypatch.setattr(Worker, "transcribe", fail)
    assert main([*null, "--manifest", manifest_of(tmp_path)]) == 3
    assert "not measured: null/fp32, WER: NaN or Inf in its output" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "ten", "1,,2"])
def test_lengths_must_be_numbers_above_zero(null: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*null, f"--seconds={text}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"wav2edge: --seconds {text}") or "--seconds" in error
    assert "give seconds above 0" in error or "an empty name between commas" in error
    assert len(error.splitlines()) == 1


def test_build_names_the_engines_that_are_built(shapes_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["build", str(shapes_bundle.path), "--engine", "openvino", "--variant", "fp32", "--all"]
    assert main(both) == 2
    assert "--variant and --all both say what is built" in capsys.readouterr().err
    assert main(["build", str(shapes_bundle.path), "--engine", "onnxruntime"]) == 2
    assert "those that do are openvino, tensorrt, tensorrt-rtx" in capsys.readouterr().err
    assert main(["build", str(shapes_bundle.path), "--engine", "tensorrt-rtx", "--longest", "0"]) == 2
    assert "--longest 0: give seconds above 0" in capsys.readouterr().err


@pytest.fixture
def openvino_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory for what OpenVINO compiles."""
    pytest.importorskip("openvino", reason='needs `pip install "wav2edge[openvino]"`')
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path))
    return tmp_path


def test_openvino_is_compiled_ahead_for_what_transcribes(
    openvino_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--engine", "openvino", "--threads", "1"]) == 0
    kept = {path: path.stat().st_mtime_ns for path in openvino_cache.rglob("*.blob")}
    assert len(kept) == 2 and str(openvino_cache) in capsys.readouterr().out
    assert main(["transcribe", "--engine", "openvino", "--threads", "1", str(CLIP)]) == 0
    assert {path: path.stat().st_mtime_ns for path in openvino_cache.rglob("*.blob")} == kept


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_build_does_not_report_what_openvino_could_not_write(
    openvino_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk OpenVINO writes nothing and says nothing, and a model was reported that the next start lacked."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))  # like a full disk for each compiled model
    try:
        assert main(["build", "--engine", "openvino", "--threads", "1"]) == 2
        assert main(["transcribe", "--engine", "openvino", "--threads", "1", str(CLIP)]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lines = [line for line in capsys.readouterr().err.splitlines() if "embedded demo model" not in line]
    assert len(lines) == 1 and "the cache cannot be written" in lines[0] and "set WAV2EDGE_CACHE" in lines[0]


def test_build_does_not_report_an_earlier_build_in_a_cache_that_cannot_be_written(
    openvino_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compiled models of before were counted, which no start reads in a cache that is read-only now."""
    assert main(["build", "--engine", "openvino", "--threads", "1"]) == 0
    for lock in openvino_cache.rglob("*.lock"):
        lock.unlink()
        lock.mkdir()
    assert main(["build", "--engine", "openvino", "--threads", "1"]) == 2
    assert "the cache cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "engine, options, said",
    [
        ("openvino", ["--longest", "10"], "compiles for every length"),
        ("openvino", ["--stage", "encoder"], "compiles for every length"),
        ("tensorrt", ["--threads", "2"], "compiles for a GPU"),
    ],
)
def test_build_refuses_what_an_engine_does_not_compile_for(
    engine: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--engine", engine, *options]) == 2
    assert said in capsys.readouterr().err
