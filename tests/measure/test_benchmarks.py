"""Every benchmark can be imported and explains itself; what they share prints and writes as it should."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem[0] != "_")
HELP = """
import contextlib, io, json, runpy, sys, traceback
sys.path.insert(0, sys.argv[1])
results = {}
for name in sys.argv[2:]:
    out = io.StringIO()
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(f"{sys.path[0]}/{name}.py", run_name="__main__")
        code = "it went on after --help"
    except SystemExit as error:
        code = error.code
    except BaseException:
        code = traceback.format_exc()
    results[name] = [code, out.getvalue()]
json.dump(results, sys.stdout)
"""


@pytest.fixture(scope="module")
def help_texts() -> dict[str, tuple[int | str, str]]:
    """What each script answers to ``--help``, all in one process, since several import PyTorch."""
    words = [sys.executable, "-c", HELP, str(FOLDER), *SCRIPTS]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=240)
    results: dict[str, tuple[int | str, str]] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_explains_itself(name: str, help_texts: dict[str, tuple[int | str, str]]) -> None:
    code, text = help_texts[name]
    assert code in (0, None), code
    assert f"python benchmarks/{name}.py" in text, "the help shows how it is called"
    assert "--docs" in text, "its output can be written as a figure of the documentation"


@pytest.fixture
def kit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_kit", FOLDER / "_kit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_output_is_printed_and_written_with_date_and_machine(
    kit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = tmp_path / "figure.md"
    monkeypatch.setattr(sys, "argv", ["/x/y/startup.py", "/some/where/a.wav", "--docs", str(figure), "--runs", "3"])
    arguments = argparse.Namespace(docs=figure)
    with kit.Output(arguments) as output:
        output.say("a  1", "b  2")
        output.say()
        assert not figure.exists(), "a figure is written whole, at the end"
    printed = capsys.readouterr().out
    assert printed.splitlines()[2:] == ["a  1", "b  2", ""]
    first, *rest = figure.read_text("utf-8").splitlines()
    assert first.startswith("*Measured on 20") and first.endswith("by `python benchmarks/startup.py a.wav --runs 3`.*")
    assert rest == ["", "```", "a  1", "b  2", "", "```"]
    with kit.Output(arguments, markdown=True) as output:
        output.say("| a |")
    assert figure.read_text("utf-8").splitlines()[1:] == ["", "| a |"]


def test_a_benchmark_that_fails_writes_no_figure(kit: ModuleType, tmp_path: Path) -> None:
    figure = tmp_path / "figure.md"
    with pytest.raises(ValueError), kit.Output(argparse.Namespace(docs=figure)) as output:
        output.say("half of it")
        raise ValueError
    assert not figure.exists()


def test_options_are_passed_on_as_words(kit: ModuleType) -> None:
    parser = kit.parser("What it does.\n\n    python benchmarks/x.py\n")
    kit.add_model(parser)
    arguments = parser.parse_args(["-m", "bundle", "--threads", "3"])
    names = ("model", "engine", "variant", "threads")
    assert kit.command_options(arguments, *names) == ["-m", "bundle", "--threads", "3"]


def test_sound_is_as_long_as_asked_for(kit: ModuleType) -> None:
    assert kit.sound([], 40.0).shape == (40 * kit.RATE,)
