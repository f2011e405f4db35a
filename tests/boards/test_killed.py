"""kill -9 at twenty moments of updates of the real program: the old or the new captions afterwards, each time.

`scripts/test --boards`; about 4 minutes on an idle machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.boards, pytest.mark.timeout(5400)]

FRESH, UPDATES = 5, 15
MOMENTS = FRESH + UPDATES
CURRENT = ".local/share/wav2edge/captions/current"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"HOME": str(home), "PATH": path}


def captions(home: Path, clip: Path) -> tuple[str, list[str]]:
    """The variant of the installation in use, and the words that it captions."""
    current = home / CURRENT
    (variant,) = {path.name.split(".")[0] for path in (current / "bundle").glob("*.onnx")}
    command = [str(current / "env/bin/wav2edge"), "listen", "-m", str(current / "bundle"), "--engine", "onnxruntime"]
    done = subprocess.run(
        [*command, "--fast", "--file", str(clip)], env=environment(home), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return variant, done.stdout.split()


def start(folder: Path, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["./install.sh"], cwd=folder, env=environment(home), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def renew(folder: Path, number: int) -> None:
    """Make another release of the same package: what tells releases apart is their list of checksums."""
    (folder / "README.txt").write_text(f"release {number}\n")
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    with (folder / "SHA256SUMS").open("w") as out:
        subprocess.run(["sha256sum", *(n for n in names if n != "SHA256SUMS")], cwd=folder, stdout=out, check=True)


def test_killed_at_twenty_moments_the_old_or_the_new_captions(
    pack: Callable[..., Path], clips: list[tuple[Path, str]], tmp_path: Path
) -> None:
    clip = next(path for path, _ in clips if path.stem == "coffee-latte")
    packages = []
    for variant in ("fp32", "int8-u8s8"):
        with tarfile.open(pack("x86-64-vnni", "--python", HERE, "--variant", variant)) as archive:
            archive.extractall(tmp_path / variant, filter="data")
        packages.append(tmp_path / variant)
    trial, home = tmp_path / "trial", tmp_path / "home"
    trial.mkdir()
    home.mkdir()
    began = time.monotonic()
    assert start(packages[0], trial).wait() == 0
    whole = time.monotonic() - began
    texts = dict([captions(trial, clip)])
    shutil.rmtree(trial)
    finished = 0
    for moment in range(MOMENTS):
        package = packages[moment % 2]
        renew(package, moment)
        if moment == FRESH and not (home / CURRENT).exists():
            assert start(packages[0], home).wait() == 0
        process = start(package, home)
        place = (moment + 0.5) / FRESH if moment < FRESH else (moment - FRESH + 0.5) / UPDATES
        time.sleep(whole * place)
        finished += process.poll() is not None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if moment < FRESH and not (home / CURRENT).exists():
            continue  # killed before the first installation was whole: nothing is in use, and nothing half
        variant, words = captions(home, clip)
        assert words and words == texts.setdefault(variant, words), f"killed at moment {moment}"
    assert finished < MOMENTS, "the moments are spread over an installation"
    renew(packages[1], MOMENTS)
    assert start(packages[1], home).wait() == 0
    assert captions(home, clip)[0] == "int8-u8s8"
    assert len(list((home / CURRENT).parent.joinpath("releases").iterdir())) == 2, "what was interrupted is removed"
