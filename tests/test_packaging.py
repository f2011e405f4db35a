"""The folders, the wheel's table and the links say the same; the wheel holds what it must and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
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
def wheel_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel(wheel_path: Path) -> list[str]:
    with zipfile.ZipFile(wheel_path) as archive:
        return archive.namelist()


def test_the_wheel_holds_one_import_name(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"wav2edge"}


def test_the_wheel_holds_each_module_once_and_the_data(wheel: list[str]) -> None:
    assert len(wheel) == len(set(wheel))
    data = "runtime/embedded_data"
    for needed in ("cli/__init__.py", "py.typed", "export/__init__.py", f"{data}/clips/manifest.jsonl",
                   f"{data}/bundle/bundle.json",
                   f"{data}/keyword/bundle.json", f"{data}/speaker/bundle.json"):  # fmt: skip
        assert f"wav2edge/{needed}" in wheel
    assert not [name for name in wheel if "__pycache__" in name or "/tests/" in name or name.endswith(".pyc")]


def test_the_sbom_names_the_package_and_what_it_needs(wheel_path: Path) -> None:
    """PEP 770: in .dist-info/sboms, CycloneDX; the same version and dependencies as the wheel's metadata."""
    with zipfile.ZipFile(wheel_path) as archive:
        (name,) = (name for name in archive.namelist() if ".dist-info/sboms/" in name)
        document = json.loads(archive.read(name))
        metadata = archive.read(f"{name.partition('/')[0]}/METADATA").decode()
    assert name.endswith("/wav2edge.cdx.json") and document["bomFormat"] == "CycloneDX"
    version = re.search(r"^Version: (.+)$", metadata, re.MULTILINE)
    assert version is not None and document["metadata"]["component"]["version"] == version[1]
    needed = set(re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE))
    listed = {item["name"] for item in document["components"] if item["type"] == "library"}
    assert needed and listed == needed
    assert all(item.get("licenses") for item in document["components"] if item["type"] != "data")


def test_a_checkout_without_symbolic_links_is_one_clear_line(tmp_path: Path) -> None:
    """Git on Windows writes each link as a text file, and the first import failed far from the cause."""
    package = tmp_path / "wav2edge"
    package.mkdir()
    (package / "__init__.py").write_bytes((ROOT / "src" / "wav2edge" / "__init__.py").read_bytes())
    (package / "runtime").write_text("../../runtime")
    done = subprocess.run([sys.executable, "-c", "import wav2edge"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    line = done.stderr.splitlines()[-1]
    assert line.startswith(
        "ImportError: this checkout of wav2edge has no symbolic links: `git config core.symlinks true"
    )


def test_the_wheel_stays_small(wheel_path: Path) -> None:
    assert wheel_path.stat().st_size < 60e6


def test_licence_files_travel(wheel: list[str]) -> None:
    assert [name for name in wheel if name.endswith("licenses/LICENSE")]
    assert [name for name in wheel if name.endswith("licenses/NOTICE")]


@pytest.mark.slow
def test_the_wheel_with_cpu_alone_transcribes(wheel_path: Path, tmp_path: Path, clips: list[tuple[Path, str]]) -> None:
    """A fresh environment, no network but the package index: no torch, transformers or onnx, under 300 MB."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), f"{wheel_path}[cpu]"]
    subprocess.run(install, check=True, timeout=280, capture_output=True)
    clip = tmp_path / clips[0][0].name
    clip.write_bytes(clips[0][0].read_bytes())
    done = subprocess.run(
        [python.parent / "wav2edge", "transcribe", clip], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "embedded demo model" in done.stderr
    packages = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    assert not [name for name in ("torch", "transformers", "onnx") if (packages / name).exists()]
    tools = ("pip", "setuptools")
    size = sum(
        path.stat().st_size
        for path in packages.rglob("*")
        if path.is_file() and path.relative_to(packages).parts[0].split("-")[0] not in tools
    )
    assert size < 300e6
