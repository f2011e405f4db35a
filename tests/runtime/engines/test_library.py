"""Libraries that are missing, broken, or removed but for their folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wav2edge.runtime import engines
from wav2edge.runtime.engines import _library
from wav2edge.runtime.errors import EngineError

NAMES = ("onnxruntime", "openvino")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of packages, where neither library is."""
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_was_left_behind_is_no_library(name: str, site: Path) -> None:
    """Removing one of two packages that own a module leaves a folder, which Python imports: an AttributeError followed.

    It was an internal error of every command, although the other engine could run.
    """
    (site / name / "capi").mkdir(parents=True)
    assert not _library.installed(name) and not _library.works(name)
    assert "--force-reinstall" in str(engines.missing(name)), "pip says that it is there already"


@pytest.mark.parametrize("name", NAMES)
def test_a_library_that_fails_is_there_but_does_not_work(name: str, site: Path) -> None:
    (site / name).mkdir()
    (site / name / "__init__.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')")
    assert _library.installed(name) and not _library.works(name)


def test_a_network_needs_a_library_that_works(site: Path) -> None:
    """The speech detector took an ONNX Runtime whose import fails, and its error ended live captions in OpenVINO."""
    (site / "onnxruntime").mkdir()
    (site / "onnxruntime" / "__init__.py").write_text("raise ImportError('libgomp.so.1')")
    with pytest.raises(EngineError, match="needs onnxruntime or openvino"):
        engines.open_network(b"")
