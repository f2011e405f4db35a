"""Debian roots of other architectures and releases, without a network, to run packages in as on a board.

They are made once, in .boards/ at the top of the repository, from Debian's mirror. Needs root, mmdebstrap and, for ARM,
a kernel whose binfmt_misc belongs to a user namespace (Linux 6.7).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".boards"
HERE = Path(__file__).parent
PACKAGES = (
    "python3,python3-minimal,libpython3-stdlib,libgomp1,libstdc++6,libportaudio2,bash,dash,coreutils,tar,grep,sed,gzip,"
    "findutils,util-linux"
)


PLAIN = "cortex-a76"
"""The processor that is emulated unless a test asks for another: qemu's `max` has vectors of 2048 bits, which it
emulates at a tenth of the speed."""


@dataclass(frozen=True)
class DebianRoot:
    """A root file system that commands run in."""

    path: Path
    qemu: Path | None

    def run(self, script: str, cpu: str = PLAIN, timeout: float = 3000) -> subprocess.CompletedProcess[str]:
        """Run a shell script there, without a network; cpu: qemu's name of the processor."""
        command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        command += [str(HERE / "enter.sh"), str(self.qemu or "-"), str(self.path), "/bin/bash", "-ec", script]
        return subprocess.run(
            command, env={**os.environ, "QEMU_CPU": cpu}, capture_output=True, text=True, timeout=timeout
        )

    def says(self, script: str, cpu: str = PLAIN, timeout: float = 3000) -> str:
        """The standard output of a script that must succeed."""
        done = self.run(script, cpu, timeout)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def mirror() -> str:
    """Debian's mirror as this system's sources name it."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text() for path in places if path.is_file())
    found = re.search(r"https?://\S+/debian/?(?=\s)", text)
    if not found:
        pytest.fail("the sources of apt name no mirror of Debian; add one to /etc/apt/sources.list.d")
    return found[0]


@pytest.fixture(scope="session")
def qemu() -> Path:
    """Debian 13's static qemu-aarch64: with Debian 12's, ONNX Runtime crashes where it reads the processor."""
    place = WORK / "qemu"
    program = place / "usr" / "bin" / "qemu-aarch64"
    if not program.exists():
        apt = WORK / "apt"
        (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (apt / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        (apt / "sources.list").write_text(f"deb [trusted=yes] {mirror()} trixie main\n")
        options = [f"Dir::Etc::SourceList={apt}/sources.list", "Dir::Etc::SourceParts=/dev/null"]
        options += [f"Dir::State::Lists={apt}/lists", f"Dir::Cache={apt}/cache", "APT::Sandbox::User=root"]
        get = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
        subprocess.run([*get, "update"], check=True, capture_output=True)
        subprocess.run([*get, "download", "qemu-user"], check=True, capture_output=True, cwd=apt)
        (package,) = apt.glob("qemu-user_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(place)], check=True)
    return program


@pytest.fixture(scope="session")
def debian(qemu: Path) -> Callable[..., DebianRoot]:
    """Make a root: release (bookworm is Debian 12, trixie 13), architecture, its name among others, more packages."""
    for tool in ("mmdebstrap", "unshare"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: apt-get install mmdebstrap util-linux")

    def make(release: str, architecture: str, name: str, more: str = "") -> DebianRoot:
        path = WORK / f"{name}-{release}-{architecture}"
        if not (path / "usr").exists():
            path.parent.mkdir(exist_ok=True)
            command = ["mmdebstrap", "-q", f"--architectures={architecture}", "--variant=extract"]
            command += [f"--include={PACKAGES}{more}", release, str(path), mirror()]
            subprocess.run(command, check=True, capture_output=True)
        return DebianRoot(path, qemu if architecture == "arm64" else None)

    return make


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Pack the embedded bundle by the command; returns the archive."""

    def make(board: str, *words: str) -> Path:
        path = tmp_path_factory.mktemp("package") / "captions.tar"
        command = [sys.executable, "-m", "wav2edge", "pack", "--for", board, str(path), "--wheels", *words]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True)
        return path

    return make


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Download wheels for another Python and platform; returns their folder."""

    def make(python: str, platforms: Sequence[str], *requirements: str) -> Path:
        folder = tmp_path_factory.mktemp("wheels")
        command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", python, "--dest", str(folder)]
        command += [word for platform in platforms for word in ("--platform", platform)]
        subprocess.run([*command, *requirements], check=True, capture_output=True)
        return folder

    return make
