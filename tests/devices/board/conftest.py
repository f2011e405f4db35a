"""Stand-ins that install in a second: a program with wav2edge's name whose selftest does what its bundle says."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

MakeWheel = Callable[..., Path]

_PROGRAM = """
import pathlib, sys

def main():
    bundle = pathlib.Path(sys.argv[-1])
    print((bundle / "vocab.json").read_text())
    return 1 if "broken" in (bundle / "vocab.json").read_text() else 0
"""


def _make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    files: Mapping[str, str] | None = None,
) -> Path:
    """A wheel with a module of its name; requires: Requires-Dist lines."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-{tag}.whl"
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {line}" for line in requires]
    metadata += [f"Provides-Extra: {extra}" for extra in ("cpu", "mic", "openvino")]
    entries = {
        f"{module}/__init__.py": "",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **{key.replace("@INFO@", info): text for key, text in (files or {}).items()},
    }
    record = "".join(f"{entry},,\n" for entry in [*entries, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in {**entries, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(entry), text)
    return path


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that installs a command ``wav2edge``, whose selftest fails where vocab.json says "broken"."""
    files = {
        "wav2edge/program.py": _PROGRAM,
        "@INFO@/entry_points.txt": "[console_scripts]\nwav2edge = wav2edge.program:main\n",
    }
    return _make_wheel(tmp_path_factory.mktemp("program"), "wav2edge", "0.1.0", files=files)


@pytest.fixture(scope="session")
def make_wheel() -> MakeWheel:
    """``_make_wheel``, for tests."""
    return _make_wheel
