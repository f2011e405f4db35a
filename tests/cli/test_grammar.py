"""One grammar: bundles, lists, --json and --report mean the same everywhere, and old spellings keep working."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from wav2edge.cli import main
from wav2edge.runtime.bundle import embedded
from wav2edge.runtime.bundle.read import Bundle


@pytest.fixture
def path(shapes_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("WAV2EDGE_CACHE", str(tmp_path / "cache"))
    return str(shapes_bundle.path)


def refused_in_one_line(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, error = capsys.readouterr()
    assert out == "" and why in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("order", [["{}"], ["-m", "{}"], ["--model", "{}"], ["-m", "{}", "{}"]])
def test_a_bundle_that_is_looked_at_is_named_with_or_without_m(
    path: str, order: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", *(word.format(path) for word in order)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}  (format")


@pytest.mark.parametrize(
    "words", [["--json", "{}"], ["{}", "--json"], ["--json", "-", "{}"], ["{}", "--json=-"], ["--json", "-m", "{}"]]
)
def test_json_goes_to_standard_output(path: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``inspect --json my-bundle`` is an old spelling: the bundle is no file to write to."""
    before = sorted(Path(path).iterdir())
    assert main(["inspect", *(word.format(path) for word in words)]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"] == {"checkpoint": "none"}
    assert sorted(Path(path).iterdir()) == before


@pytest.mark.parametrize("words", [["--json", "{}.json"], ["--json={}.json"], ["--json={}"]])
def test_json_goes_to_a_file_and_the_text_is_still_printed(
    path: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    assert main(["inspect", path, *(word.format(target) for word in words)]) == 0
    assert "variants" in capsys.readouterr().out
    [written] = tmp_path.glob("out*")
    assert json.loads(written.read_text("utf-8"))["provenance"] == {"checkpoint": "none"}


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "{}", "--json={folder}"],
        ["bench", "{}", "--csv", "{folder}"],
        ["bench", "{}", "--markdown", "{folder}"],
        ["devices", "--json={folder}"],
        ["embed", "a.wav", "-m", "{}", "-o", "{folder}"],
        ["evaluate", "m.jsonl", "-m", "{}", "--json={folder}"],
        ["evaluate", "m.jsonl", "-m", "{}", "--html", "{folder}"],
        ["inspect", "{}", "--json={folder}"],
        ["listen", "-m", "{}", "--json={folder}"],
        ["listen", "-m", "{}", "--measure", "m.jsonl", "--plot", "{folder}"],
        ["listen", "-m", "{}", "--record", "{folder}"],
        ["listen", "-m", "{}", "--save", "{folder}"],
        ["quantize", "{}", "--json={folder}"],
        ["selftest", "{}", "--json={folder}"],
        ["verify", "a.wav", "b.wav", "-m", "{}", "--json={folder}"],
    ],
)
def test_a_folder_is_no_file_to_write(
    path: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever ran before was lost: the refusal came when the results were to be written."""
    folder = tmp_path / "folder.png"
    folder.mkdir()
    refused_in_one_line(
        [word.format(path, folder=folder) for word in words], f"{folder}: is a folder; name a file", capsys
    )


@pytest.mark.parametrize(
    "words",
    [
        ["quantize", "{}", "--report", "{file}"],
        ["evaluate", "m.jsonl", "-m", "{}", "--report", "{file}"],
        ["bench", "{}", "--report", "{file}"],
        ["transcribe", "a.wav", "-m", "{}", "-o", "{file}"],
        ["diarize", "a.wav", "-m", "{}", "-o", "{file}"],
    ],
    ids=lambda words: f"{words[0]} {words[-2]}",
)
def test_a_file_is_no_folder_to_write(
    path: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`quantize` said so after all variants were made, without its report; others said `File exists`."""
    file = tmp_path / "talk.flac"
    file.touch()
    refused_in_one_line([word.format(path, file=file) for word in words], f"{file}: is a file; name a folder", capsys)


@pytest.mark.parametrize("words", [["inspect", "{}"], ["transcribe", "a.wav", "-m", "{}"], ["bench", "{}"]])
def test_a_file_is_no_bundle(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line was `--model Directory 'talk.flac' is a file.`, without what a bundle is."""
    file = tmp_path / "talk.flac"
    file.touch()
    assert main([word.format(file) for word in words]) == 2
    assert capsys.readouterr().err == f"wav2edge: {file}: a bundle is a directory, this is a file\n"


def test_json_says_how_its_files_end(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`out.txt` was called an unexpected extra argument, which names neither the option nor the remedy."""
    assert main(["inspect", path, "--json", "out.txt"]) == 2
    assert "--json out.txt: the file's name must end in .json (see" in capsys.readouterr().err
    assert main(["listen", "--json", "out.txt"]) == 2
    assert "--json out.txt: the file's name must end in " in capsys.readouterr().err
    assert main(["inspect", path, "--json", "out.json", "other"]) == 2
    assert "unexpected extra argument (other)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "{}", "--json", "{}/bundle.json"],
        ["quantize", "{}", "--json", "{}/bundle.json"],
        ["bench", "{}", "--csv", "{}/bundle.json"],
        ["transcribe", "a.wav", "-m", "{}", "-o", "{}"],
        ["listen", "-m", "{}", "--save", "{}/vocab.json"],
        ["quantize", "{}", "--report", "{}"],
        ["evaluate", "m.jsonl", "-m", "{}", "--report", "{}"],
        ["bench", "{}", "--report", "{}"],
        ["inspect", "{}", "--json", "{}/new.json"],
        ["bench", "{}", "--report", "{}/new"],
        ["transcribe", "a.wav", "-m", "{}", "-o", "{}/new/deeper"],
        ["pack", "{}", "--for", "x86-64", "{}/new.tar"],
        ["pack", "-m", "{}", "--for", "sherpa-onnx", "{}/new"],
    ],
    ids=lambda words: f"{words[0]} {words[-2]} {words[-1]}",
)
def test_nothing_is_written_into_a_bundle(path: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A new file, which its list does not have, was written; `pack` put its archive there."""
    before = {file: file.read_bytes() for file in Path(path).iterdir()}
    assert main([word.format(path) for word in words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "bundle" in line and line.endswith("write to another place")
    assert {file: file.read_bytes() for file in Path(path).iterdir()} == before


def test_another_programs_bundle_json_does_not_matter(path: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text('{"assets": []}')
    assert main(["inspect", path, "--json", str(tmp_path / "seen.json")]) == 0
    assert json.loads((tmp_path / "seen.json").read_text("utf-8"))["provenance"] == {"checkpoint": "none"}


def test_json_does_not_take_a_manifest_for_its_file(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer", reason="the scores need the extra [eval]")
    manifest = tmp_path / "m.jsonl"
    soundfile.write(tmp_path / "a.wav", [0.0] * 16000, 16000)
    manifest.write_text('{"path": "a.wav", "text": "one"}\n')
    assert main(["evaluate", "--json", str(manifest), "-m", path, "--engine", "null"]) == 0
    assert json.loads(capsys.readouterr().out)["systems"]
    assert manifest.read_text() == '{"path": "a.wav", "text": "one"}\n'


@pytest.mark.parametrize("lists", [["--engine", "null,torch,null"], ["--engine", "null", "--engine", "torch"]])
def test_lists_are_repeated_or_have_commas(path: str, lists: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def stand_in(bundle: Bundle, engine: object, *rest: object) -> list[object]:
        asked.append(engine)
        return []

    monkeypatch.setattr("wav2edge.runtime.selftest.run", stand_in)
    assert main(["selftest", path, *lists]) == 3
    assert asked == [("null", "torch")]


def test_lists_of_engines_are_alike_in_bench_and_evaluate(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", [0.0] * 16000, 16000)
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "one"}\n')
    for words in (["bench", "-m", path, "--quick"], ["evaluate", str(tmp_path / "m.jsonl"), "-m", path]):
        for lists in (["--engine", "null,abacus"], ["--engine", "null", "--engine", "abacus"]):
            assert main([*words, *lists]) == 2
            assert "no engine 'abacus'" in capsys.readouterr().err


def test_reports_are_folders_with_a_page_and_the_figures(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer", reason="the scores need the extra [eval]")
    soundfile.write(tmp_path / "a.wav", [0.0] * 16000, 16000)
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav", "text": "one"}\n')
    words = ["evaluate", str(tmp_path / "m.jsonl"), "-m", path, "--engine", "null", "--report", str(tmp_path / "r")]
    assert main(words) == 0
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == ["evaluate.json", "index.html"]
    assert "the page is" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*words[:-1], str(tmp_path / "file" / "r")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["transcribe", "{wav}", "-m", "{bundle}", "--engine", "null", "--window", "20"],
        ["transcribe", "{wav}", "-m", "{bundle}", "--engine", "null", "--window=20"],
        ["bench", "-m", "{bundle}", "{bundle}", "--engine", "null", "--seconds", "0.5", "--runs", "1"],
        ["listen", "-m", "{bundle}", "--engine", "null", "--file", "{wav}", "--fast", "--doubt", "0.8"],
        ["selftest", "{bundle}", "--engine", "null"],
        ["evaluate", "{manifest}", "-m", "{bundle}", "--engine", "null", "--html", "{page}"],
    ],
)
def test_old_spellings_keep_working(
    path: str, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    wav, manifest = tmp_path / "a.wav", tmp_path / "m.jsonl"
    soundfile.write(wav, [0.0] * 32000, 16000)
    manifest.write_text('{"path": "a.wav", "text": "one"}\n')
    places = {"wav": wav, "manifest": manifest, "bundle": path, "page": tmp_path / "page.html"}
    code = main([word.format(**places) for word in words])
    if words[0] == "selftest":  # understood; this bundle has nothing to compare with
        assert "selftest" in capsys.readouterr().err
    else:
        assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize("old", ["--variants", "--variant"])
def test_quantize_takes_its_old_list(path: str, old: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="quantize needs the extra [calibrate]")
    assert main(["quantize", path, old, "int8-u9s9"]) == 2
    assert "int8-u9s9" in capsys.readouterr().err


def test_build_takes_its_old_window(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", path, "--engine", "tensorrt-rtx", "--window", "0"]) == 2
    assert "--live-window 0: give seconds above 0" in capsys.readouterr().err


def test_pack_takes_the_bundle_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = str(embedded.bundle_path()), str(tmp_path / "a.tar")
    for words in (["pack", path, target], ["pack", "-m", path, target]):
        assert main([*words, "--for", "raspberry-pi-5", "--overwrite"]) == 0
        assert "On the board:" in capsys.readouterr().out
    assert main(["pack", "a", "b", "c", "--for", "raspberry-pi-5"]) == 2
    assert "c: pack takes one bundle and one file" in capsys.readouterr().err


def test_ctrl_c_while_the_command_is_imported_is_one_line() -> None:
    script = (
        "import sys, importlib.abc\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'wav2edge.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from wav2edge.__main__ import main; sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "wav2edge: interrupted\n")


def test_what_should_not_happen_is_one_line_and_a_traceback_on_request(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.setattr("wav2edge.runtime.bundle.read.Bundle.open", fails)
    assert main(["inspect", path]) == 2
    err = capsys.readouterr().err
    assert err.startswith("wav2edge: internal error (ZeroDivisionError: by zero); please report it")
    assert len(err.splitlines()) == 1
    monkeypatch.setenv("WAV2EDGE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["inspect", path])


@pytest.mark.parametrize("redirection", ["2>&-", "2</dev/null", "<&- 2>&-"])
def test_a_standard_error_that_nothing_reads_is_not_an_error(path: str, tmp_path: Path, redirection: str) -> None:
    soundfile.write(tmp_path / "a.wav", [0.0] * 16000, 16000)
    command = [sys.executable, "-m", "wav2edge", "transcribe", str(tmp_path / "a.wav"), "-m", path, "--engine", "null"]
    done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *command], capture_output=True, check=False)
    assert done.returncode == 0
    gone = subprocess.run(["sh", "-c", f'"$@" gone.wav {redirection}', "sh", *command], check=False)
    assert gone.returncode == 2


def test_a_closed_standard_input_is_one_line(path: str) -> None:
    command = f'"{sys.executable}" -m wav2edge transcribe - -m "{path}" --engine null <&-'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "wav2edge: -: standard input is closed; pipe a recording in\n")
