"""Child processes import what their parent imports, and nothing from the user's working directory."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wav2edge.devices import microphones
from wav2edge.devices.board import wheels
from wav2edge.measure.bench.worker import Worker
from wav2edge.runtime import children
from wav2edge.runtime.engines._tensorrt import builder
from wav2edge.runtime.errors import EngineError, InputError
from wav2edge.serving import uploads

ROOT = Path(__file__).parents[2]
PACKAGES = ("devices", "export", "calibration", "graphs", "measure", "runtime", "serving", "src/wav2edge/cli")
NAMES = ("json", "csv", "dataclasses", "contextlib", "runpy", "numpy", "sounddevice", "pip", "wav2edge")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files by the names of modules; the file that they leave when one is imported."""
    folder, imported = tmp_path / "working", tmp_path / "imported"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(imported)!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(folder)
    return imported


def _download() -> None:
    with tempfile.TemporaryDirectory() as place, contextlib.suppress(InputError):  # there is no index
        wheels._download(["nothing==0"], wheels.Target("3.11", "manylinux_2_28_x86_64"), Path(place))


def _build() -> None:
    with contextlib.suppress(EngineError):  # there is no graph
        builder.build_apart(builder.BuildRequest("tensorrt", "no.onnx", "no.plan", ()), print)


def _measure() -> None:
    worker = Worker()
    with contextlib.suppress(EngineError):  # nothing is loaded
        worker.ask(do="memory")
    worker.close()


def _decode() -> None:
    process = uploads._start()
    process.communicate(b"", timeout=60)


@pytest.mark.parametrize("start", [microphones.detect, _download, _build, _measure, _decode])
def test_a_child_imports_nothing_from_the_working_directory(
    trap: Path, start: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A json.py, a csv.py or a pip folder where a user stood was run by `devices`, `bench`, `pack` and `serve`."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    start()
    assert not trap.exists(), trap.read_text()


def test_a_child_imports_what_its_parent_does(trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a module of a folder that the parent put on its path, and wav2edge where it came from."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more/own_module.py").write_text("import sys\nprint(__name__, *sys.argv[1:])\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path, str(tmp_path / "more")])
    done = subprocess.run(children.module("own_module", "a", "-b"), capture_output=True, text=True, check=True)
    assert done.stdout == "__main__ a -b\n"
    done = subprocess.run(
        children.code("import wav2edge; print(wav2edge.__file__)"), capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).parent == ROOT / "src" / "wav2edge"
    assert not trap.exists()


def test_no_module_starts_python_in_another_way() -> None:
    started = re.compile(r'sys\.executable, "-[cm]"|sys\.executable, \*|"python3?", "-[cm]"')
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if started.search(path.read_text("utf-8"))
    ]
    assert found == ["runtime/children.py"]
