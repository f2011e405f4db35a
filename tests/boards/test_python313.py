"""The runtime's tests on Python 3.13, which Debian 13 and Raspberry Pi OS have, in a Debian 13 root without a network.

`scripts/test --arm`. On x86-64 all tests of the runtime and of the devices that need neither torch nor TensorRT; on
arm64, which is emulated, those of the files in EMULATED.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import pytest
import srt

from wav2edge.devices.board import program

pytestmark = [pytest.mark.arm, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
EXTRAS = {"x86_64": "cpu,openvino,mic,media,trust,eval", "aarch64": "cpu,media,trust,eval"}
TESTS = ("pytest>=8", "pytest-timeout>=2.3", "hypothesis>=6.100", "jsonschema>=4", "webvtt-py>=0.5", "onnx>=1.18")
MORE = ",libc-bin,python3-venv"
"""For ldconfig, by which Python finds PortAudio, and for the tests of install.sh."""
LEFT_OUT = "slow or gpu or clients or arm or page or boards"
ONE_USER = "an_unreadable_file_says_so"
"""It asks as another user, and the namespace has one."""
EMULATED = (
    "tests/runtime/bundle/test_spec.py",
    "tests/runtime/bundle/test_trust.py",
    "tests/runtime/heads",
    "tests/runtime/text",
    "tests/runtime/audio/test_read.py",
    "tests/runtime/test_documents.py",
    "tests/runtime/test_escape.py",
    "tests/runtime/test_files.py",
    "tests/devices/test_detect.py",
    "tests/devices/test_profile.py",
)


class Board(Protocol):
    """conftest.DebianRoot."""

    path: Path

    def says(self, script: str, cpu: str = "cortex-a76", timeout: float = 3000) -> str:
        """The output of a script that must succeed."""


def checkout(target: Path) -> None:
    """Copy the files that git knows or would take."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if name and not name.startswith("recipes/embedded/") and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name, follow_symlinks=False)


def run(board: Board, found: Path, tests: Iterable[str], packages: Iterable[str]) -> str:
    """Install from wheels, with wav2edge's own, then run tests; returns pytest's output."""
    home = board.path / "root"
    shutil.rmtree(home, ignore_errors=True)
    checkout(home / "wav2edge")
    shutil.copytree(found, home / "wheels")
    (home / "modules").mkdir()
    shutil.copy(srt.__file__, home / "modules")  # which has no wheel
    (pip,) = (path.name for path in (home / "wheels").glob("pip-*.whl"))
    own = program.wheel(home / "wheels").name
    names = " ".join(f"'{name}'" for name in (*packages, f"/root/wheels/{own}"))
    python = "/root/env/bin/python"
    board.says(f"""
python3.13 -m venv --without-pip /root/env
{python} /root/wheels/{pip}/pip install -q --no-index --no-compile --find-links /root/wheels {names}
""")
    return board.says(f"""
ldconfig
cd /root/wav2edge
export PYTHONPATH=/root/modules PATH=/root/env/bin:$PATH
{python} -m pytest -q -p no:cacheprovider -m 'not ({LEFT_OUT})' -k 'not {ONE_USER}' {" ".join(tests)} || true
""")


def needed(machine: str) -> tuple[str, ...]:
    """What the runtime and its extras need, as the metadata of the installed package says."""
    wanted = set(EXTRAS[machine].split(","))
    found = []
    for line in importlib.metadata.requires("wav2edge") or ():
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == ['\"]([a-z]+)['\"]", marker)
        if extra is None or (extra[1] in wanted and "python_version" not in marker):
            found.append(requirement.strip())
    return tuple(dict.fromkeys(found))


def check(out: str, fewest: int) -> None:
    """All passed, and at least so many."""
    last = out.rstrip().splitlines()[-1]
    passed = re.search(r"(\d+) passed", last)
    assert passed and int(passed[1]) >= fewest and "failed" not in last and "error" not in last, out[-6000:]


@pytest.mark.parametrize(
    ("architecture", "machine", "tests", "fewest"),
    [("amd64", "x86_64", ("tests/runtime", "tests/devices"), 1000), ("arm64", "aarch64", EMULATED, 200)],
    ids=["x86-64", "arm64"],
)
def test_the_runtime(
    debian: Callable[..., Board],
    wheels: Callable[..., Path],
    architecture: str,
    machine: str,
    tests: tuple[str, ...],
    fewest: int,
) -> None:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(41, 16, -1)] + [f"manylinux2014_{machine}"]
    packages = ("pip", *TESTS, *needed(machine))
    board = debian("trixie", architecture, "tests", MORE)
    check(run(board, wheels("3.13", platforms, *packages), tests, packages), fewest)
