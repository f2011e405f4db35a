"""What is packed for ARM boards installs and transcribes there: real aarch64 wheels, emulated by qemu, no network.

Right numbers, meaningless times. `scripts/test --arm`; about 5 minutes on an idle machine with two cores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

pytestmark = [pytest.mark.arm, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
CURRENT = "/root/.local/share/wav2edge/captions/current"
PROGRAM = f"{CURRENT}/env/bin/wav2edge"
BUNDLE = f"{CURRENT}/bundle"
CLIP = "coffee-latte"
VARIANTS = ("int8-u8s8", "fp32")
FEWEST_SAME = {"fp32": 1.0, "int8-u8s8": 0.9}
"""The share of words that must be x86's, in their places. Emulated int8 sums are rounded elsewhere at two places of the
graph (the converters to and from float), so one word of ten may differ."""


class Board(Protocol):
    """conftest.DebianRoot."""

    path: Path

    def says(self, script: str, cpu: str = "max", timeout: float = 3000) -> str:
        """The output of a script that must succeed."""


def here(clips: list[tuple[Path, str]], *words: str) -> list[str]:
    """The words that this machine transcribes."""
    clip = next(path for path, _ in clips if path.stem == CLIP)
    command = [sys.executable, "-m", "wav2edge", *words, str(clip)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def same(found: list[str], expected: list[str]) -> float:
    """The share of words that are the same in the same places."""
    equal = sum(one == other for one, other in zip(found, expected))
    return equal / max(len(found), len(expected), 1)


def unpack(archive: Path, board: Board, clips: list[tuple[Path, str]]) -> None:
    """Copy a package and a recording to the board, in place of what was there."""
    home = board.path / "root"
    shutil.rmtree(home, ignore_errors=True)
    (home / "package").mkdir(parents=True)
    with tarfile.open(archive) as file:
        file.extractall(home / "package", filter="data")
    clip = next(path for path, _ in clips if path.stem == CLIP)
    shutil.copy(clip, home / "clip.opus")


def check(board: Board, clips: list[tuple[Path, str]], cpus: tuple[str, ...]) -> None:
    """Transcribe, and caption live, on each processor in each variant."""
    for cpu in cpus:
        for variant in VARIANTS:
            expected = here(clips, "transcribe", "--engine", "onnxruntime", "--variant", variant)
            assert len(expected) > 5
            found = board.says(f"{PROGRAM} transcribe -m {BUNDLE} --variant {variant} /root/clip.opus", cpu).split()
            assert same(found, expected) >= FEWEST_SAME[variant], (cpu, variant, found, expected)
        expected = here(clips, "listen", "--engine", "onnxruntime", "--variant", VARIANTS[0], "--fast", "--file")
        found = board.says(f"{PROGRAM} listen -m {BUNDLE} --fast --file /root/clip.opus", cpu).split()
        assert same(found, expected) >= FEWEST_SAME[VARIANTS[0]], (cpu, "listen", found, expected)


@pytest.mark.parametrize(
    ("release", "cpus"),
    [("bookworm", ("cortex-a76", "max")), ("trixie", ("max",))],
    ids=["debian-12-python-3.11", "debian-13-python-3.13"],
)
def test_a_raspberry_pi_installs_and_transcribes(
    debian: Callable[..., Board],
    pack: Callable[..., Path],
    clips: list[tuple[Path, str]],
    release: str,
    cpus: tuple[str, ...],
) -> None:
    archive = pack("raspberry-pi-5", "--service", "--variant", ",".join(VARIANTS))
    assert archive.stat().st_size < 150e6
    board = debian(release, "arm64", "pi")
    unpack(archive, board, clips)
    out = board.says("cd /root/package && ./install.sh", cpus[0])
    assert out.count("passed") == len(VARIANTS) and "failed" not in out
    check(board, clips, cpus)
    # An update that is not right leaves this one in use: one byte of the weights is another.
    weights = board.path / "root" / "package" / "bundle" / "int8-u8s8.data"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 0xFF
    weights.write_bytes(content)
    refused = board.says("cd /root/package && ./install.sh || echo code $?", cpus[-1])
    assert refused.rstrip().endswith("code 2")
    assert json.loads(board.says(f"{PROGRAM} devices --json", cpus[-1]))["machine"]["cpu"]["architecture"] == "aarch64"


def test_openvinos_wheel_for_arm(
    debian: Callable[..., Board],
    pack: Callable[..., Path],
    wheels: Callable[..., Path],
    clips: list[tuple[Path, str]],
) -> None:
    """No profile of an ARM board asks for OpenVINO; who installs it there gets the same words."""
    board = debian("bookworm", "arm64", "openvino")
    unpack(pack("raspberry-pi-5", "--python", "3.11", "--variant", "fp32"), board, clips)
    board.says("cd /root/package && ./install.sh")
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] + ["manylinux2014_aarch64"]
    extra = wheels("3.11", platforms, "openvino>=2026.0")
    shutil.copytree(extra, board.path / "root" / "extra", dirs_exist_ok=True)
    board.says(f"{CURRENT}/env/bin/python -m pip install -q --no-index --no-compile --find-links /root/extra openvino")
    expected = here(clips, "transcribe", "--engine", "openvino", "--variant", "fp32")
    found = board.says(f"{PROGRAM} transcribe -m {BUNDLE} --engine openvino /root/clip.opus", "cortex-a76").split()
    assert same(found, expected) == 1.0, (found, expected)


def test_python_310_with_the_last_onnxruntime_for_it(
    debian: Callable[..., Board], pack: Callable[..., Path], clips: list[tuple[Path, str]]
) -> None:
    """JetPack 6's Python with onnxruntime 1.23.2, from a Jetson's package; its GPU is not emulated.

    Debian has no Python 3.10: WAV2EDGE_PYTHON310 names a tree of one for aarch64 (`/opt/python3.10/bin/python3.10`),
    which `tests/boards/python310.sh` builds.
    """
    tree = Path(os.environ.get("WAV2EDGE_PYTHON310", ROOT / ".boards" / "python3.10"))
    if not (tree / "opt/python3.10/bin/python3.10").exists():
        pytest.skip("no Python 3.10 for aarch64 here; tests/boards/python310.sh builds it")
    board = debian("bookworm", "arm64", "python310")
    shutil.copytree(tree / "opt", board.path / "opt", dirs_exist_ok=True, symlinks=True)
    archive = pack("jetson-orin-nano", "--python", "3.10", "--variant", ",".join(VARIANTS))
    unpack(archive, board, clips)
    out = board.says("export PATH=/opt/python3.10/bin:$PATH; cd /root/package && ./install.sh", "cortex-a76")
    assert "Python 3.10" in out and "failed" not in out
    assert "onnxruntime 1.23.2" in board.says(
        f"{CURRENT}/env/bin/python -c 'import onnxruntime; print(\"onnxruntime\", onnxruntime.__version__)'"
    )
    check(board, clips, ("cortex-a76",))
