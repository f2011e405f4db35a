"""The folders, the wheel's table and the links say the same; the wheel holds what it must and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no tomllib")

ROOT = Path(__file__).parent.parent


def test_folders_table_and_links_agree() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    table = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    links = {path.name: path.resolve() for path in (ROOT / "src" / "wav2edge").iterdir() if path.is_symlink()}
    assert table == {name: f"wav2edge/{name}" for name in folders}
    assert links == {name: ROOT / name for name in folders}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_one_import_name(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"wav2edge"}


def test_the_wheel_holds_each_module_once_and_the_data(wheel: list[str]) -> None:
    assert len(wheel) == len(set(wheel))
    for needed in ("cli/__init__.py", "py.typed", "runtime/bundle.py", "export/__init__.py",
                   "runtime/embedded_data/clips/manifest.jsonl", "runtime/embedded_data/bundle/bundle.json"):  # fmt: skip
        assert f"wav2edge/{needed}" in wheel
    assert not [name for name in wheel if "__pycache__" in name or "/tests/" in name or name.endswith(".pyc")]


def test_licence_files_travel(wheel: list[str]) -> None:
    assert [name for name in wheel if name.endswith("licenses/LICENSE")]
    assert [name for name in wheel if name.endswith("licenses/NOTICE")]
