"""What is packed for ARM boards installs and transcribes there: real aarch64 wheels, emulated by qemu, no network.

Right numbers, meaningless times. `scripts/test --arm` runs all; continuous integration runs the Raspberry Pi 5 with
Debian 12 (`-k pi_debian_12`). With WAV2EDGE_ARM_KEEP=1 what the last run installed is used again; with
WAV2EDGE_ARM_FIGURES=FILE.json the shares of equal words are written there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

import pytest

from wav2edge.measure.scoring import word_edits
from wav2edge.runtime.files import write_whole

pytestmark = [pytest.mark.arm, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".boards"
CURRENT = "/root/.local/share/wav2edge/captions/current"
PROGRAM = f"{CURRENT}/env/bin/wav2edge"
BUNDLE = f"{CURRENT}/bundle"
CLIPS = ("coffee-latte", "coffee-milk-and-sugar", "coffee-mocha", "librispeech-211", "librispeech-5339", "smart-mirror")
FEW = ("coffee-latte", "smart-mirror")
SHORT = ("librispeech-5339", "smart-mirror")
"""For the processor `max`, whose vectors of 2048 bits are emulated at a tenth of the speed."""
VARIANTS = ("int8-u8s8", "fp32")
LARGEST = 150.0
"""MB of an archive with wheels."""
FEWEST_EQUAL = {"fp32": 1.0, "int8-u8s8": 0.9}
"""The share of words that must be x86's. INT8 sums are whole numbers on both; what is in float between them is rounded
otherwise, so where the model is unsure another letter may win. docs/figures/arm-words.json has what was measured."""


SAME = ("board", "cpu", "variant", "engine", "how", "clips")
"""What tells one trial's row from another's."""


class Board(Protocol):
    """conftest.DebianRoot."""

    path: Path

    def says(self, script: str, cpu: str = "cortex-a76", timeout: float = 3000) -> str:
        """The output of a script that must succeed."""


@dataclass(frozen=True)
class Installed:
    """A board with a package installed: what install.sh said, and what the board is called."""

    board: Board
    name: str
    said: str


@dataclass(frozen=True)
class Figures:
    """What the trials measured, and the size of each board's archive with wheels, MB."""

    rows: list[dict[str, object]] = field(default_factory=list)
    archives: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="session")
def figures() -> Iterator[Figures]:
    """Rows that are written where WAV2EDGE_ARM_FIGURES says, in place of those of the same trial."""
    found = Figures()
    yield found
    if found.rows and (name := os.environ.get("WAV2EDGE_ARM_FIGURES")):
        file = Path(name)
        old = json.loads(file.read_text("utf-8")) if file.exists() else {}
        made = {tuple(row[key] for key in SAME): row for row in [*old.get("rows", []), *found.rows]}
        head = {"date": date.today().isoformat(), "machine": platform.machine()}
        head["command"] = "WAV2EDGE_ARM_FIGURES=docs/figures/arm-words.json scripts/test --arm"
        values = {"archives": {**old.get("archives", {}), **found.archives}, "rows": list(made.values())}
        write_whole(file, json.dumps({**head, **values}, indent=1) + "\n")


@pytest.fixture(scope="session")
def sounds(clips: list[tuple[Path, str]]) -> dict[str, Path]:
    """The recordings by name."""
    return {path.stem: path for path, _ in clips}


@pytest.fixture(scope="session")
def install(
    debian: Callable[..., Board], pack: Callable[..., Path], sounds: dict[str, Path], figures: Figures
) -> Callable[..., Installed]:
    """Pack for a board, unpack in a root of a release and install; each package once."""
    made: dict[str, Installed] = {}

    def make(
        name: str,
        release: str,
        profile: str,
        *words: str,
        before: str = ":",
        prepare: Callable[[Path], object] = lambda root: None,
    ) -> Installed:
        kept = WORK / f"{name}-{release}-arm64" / CURRENT[1:]
        if name not in made and os.environ.get("WAV2EDGE_ARM_KEEP") and kept.is_symlink():
            made[name] = Installed(debian(release, "arm64", name), name, "")
        if name not in made:
            archive = pack(profile, *words)
            megabytes = archive.stat().st_size / 1e6
            assert megabytes < LARGEST
            figures.archives[name] = round(megabytes, 1)
            board = debian(release, "arm64", name)
            prepare(board.path)
            home = board.path / "root"
            shutil.rmtree(home, ignore_errors=True)
            (home / "package").mkdir(parents=True)
            with tarfile.open(archive) as file:
                file.extractall(home / "package", filter="data")
            for each in CLIPS:
                shutil.copy(sounds[each], home / sounds[each].name)
            made[name] = Installed(board, name, board.says(f"{before}; cd /root/package && ./install.sh"))
        return made[name]

    return make


@pytest.fixture(scope="session")
def pi(install: Callable[..., Installed]) -> Installed:
    """A Raspberry Pi 5 with Debian 12."""
    words = ("--service", "--variant", ",".join(VARIANTS))
    return install("pi", "bookworm", "raspberry-pi-5", *words)


@pytest.fixture(scope="session")
def pi13(install: Callable[..., Installed]) -> Installed:
    """A Raspberry Pi 5 with Debian 13."""
    words = ("--service", "--variant", ",".join(VARIANTS))
    return install("pi13", "trixie", "raspberry-pi-5", *words)


@pytest.fixture(scope="session")
def expected(sounds: dict[str, Path]) -> Callable[..., list[str]]:
    """What this machine gives for a command's words and recordings, a line each; each command is run once."""
    made: dict[tuple[str, ...], list[str]] = {}

    def give(names: tuple[str, ...], *words: str, engine: str = "onnxruntime") -> list[str]:
        key = (*names, *words, engine)
        if key not in made:
            command = [sys.executable, "-m", "wav2edge", words[0], "--engine", engine, *words[1:]]
            command += [str(sounds[name]) for name in names]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            made[key] = done.stdout.splitlines()
        return made[key]

    return give


def files(names: tuple[str, ...], sounds: dict[str, Path]) -> str:
    return " ".join(f"/root/{sounds[name].name}" for name in names)


def without_names(out: str) -> list[str]:
    """The text of each recording: where there are several, its name comes before it."""
    return [line.partition(": ")[2] for line in out.splitlines()]


def share(found: list[str], expected: list[str]) -> float:
    """The share of the expected words that are there: 1 less their word error rate."""
    edits = word_edits(" ".join(expected), " ".join(found))
    assert edits.length > 1
    return 1 - edits.errors / edits.length


@dataclass(frozen=True)
class Trial:
    """Transcribing on a board, compared with here."""

    expected: Callable[..., list[str]]
    sounds: dict[str, Path]
    figures: Figures

    def __call__(
        self, there: Installed, cpu: str, variant: str, names: tuple[str, ...], engine: str = "onnxruntime"
    ) -> None:
        words = ("transcribe", "--variant", variant)
        line = f"{PROGRAM} transcribe -m {BUNDLE} --variant {variant} --engine {engine} {files(names, self.sounds)}"
        found = without_names(there.board.says(line, cpu))
        expected = without_names("\n".join(self.expected(names, *words, engine=engine)))
        self.compare(there, cpu, variant, names, found, expected, "transcribe", engine)

    def compare(
        self,
        there: Installed,
        cpu: str,
        variant: str,
        names: tuple[str, ...],
        found: list[str],
        expected: list[str],
        how: str,
        engine: str = "onnxruntime",
    ) -> None:
        equal = share(found, expected)
        words = sum(len(line.split()) for line in expected)
        row = {"board": there.name, "cpu": cpu, "variant": variant, "engine": engine, "how": how, "clips": len(names)}
        self.figures.rows.append({**row, "words": words, "equal": round(equal, 4)})
        assert equal >= FEWEST_EQUAL[variant], (cpu, variant, found, expected)


@pytest.fixture(scope="session")
def trial(expected: Callable[..., list[str]], sounds: dict[str, Path], figures: Figures) -> Trial:
    return Trial(expected, sounds, figures)


def test_pi_debian_12_installs_with_a_selftest_and_no_network(pi: Installed) -> None:
    assert pi.said.count("passed") == len(VARIANTS) and "failed" not in pi.said
    assert "making the environment with Python 3.11" in pi.said


@pytest.mark.parametrize("variant", VARIANTS)
def test_pi_debian_12_transcribes(pi: Installed, trial: Trial, variant: str) -> None:
    trial(pi, "cortex-a76", variant, FEW)


def test_pi_debian_12_captions(pi: Installed, trial: Trial, sounds: dict[str, Path]) -> None:
    names = ("coffee-latte",)
    expected = trial.expected(names, "listen", "--variant", VARIANTS[0], "--fast", "--file")
    found = pi.board.says(f"{PROGRAM} listen -m {BUNDLE} --fast --file {files(names, sounds)}", "cortex-a76")
    trial.compare(pi, "cortex-a76", VARIANTS[0], names, found.splitlines(), expected, "listen --file --fast")


def test_pi_debian_12_knows_what_it_is(pi: Installed) -> None:
    found = json.loads(pi.board.says(f"{PROGRAM} devices --json", "cortex-a76"))
    assert found["machine"]["cpu"]["architecture"] == "aarch64"


def test_pi_debian_12_keeps_what_is_installed_when_an_update_is_damaged(pi: Installed) -> None:
    """One byte of the weights is another."""
    weights = pi.board.path / "root" / "package" / "bundle" / "int8-u8s8.data"
    before = weights.read_bytes()
    content = bytearray(before)
    content[1000] ^= 0xFF
    weights.write_bytes(content)
    refused = pi.board.says("cd /root/package && ./install.sh || echo code $?", "cortex-a76")
    weights.write_bytes(before)
    assert refused.rstrip().endswith("code 2")
    assert pi.board.says(f"{PROGRAM} --version", "cortex-a76").strip()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("cpu", "names"), [("cortex-a76", CLIPS), ("max", SHORT)], ids=["cortex-a76", "max"])
def test_more_clips(pi: Installed, trial: Trial, cpu: str, names: tuple[str, ...], variant: str) -> None:
    """What FEWEST_EQUAL was measured by."""
    trial(pi, cpu, variant, names)


def test_listen_on_the_processor_with_everything(pi: Installed, trial: Trial, sounds: dict[str, Path]) -> None:
    names = ("librispeech-5339",)
    expected = trial.expected(names, "listen", "--variant", VARIANTS[0], "--fast", "--file")
    found = pi.board.says(f"{PROGRAM} listen -m {BUNDLE} --fast --file {files(names, sounds)}", "max")
    trial.compare(pi, "max", VARIANTS[0], names, found.splitlines(), expected, "listen --file --fast")


@pytest.mark.parametrize("variant", VARIANTS)
def test_debian_13_with_python_313(pi13: Installed, trial: Trial, variant: str) -> None:
    assert pi13.said.count("passed") == len(VARIANTS) and "failed" not in pi13.said
    assert "making the environment with Python 3.13" in pi13.said
    trial(pi13, "cortex-a76", variant, FEW)


def test_openvinos_wheel(pi: Installed, wheels: Callable[..., Path], trial: Trial) -> None:
    """No profile of an ARM board asks for OpenVINO; who installs it there gets the same words.

    After the other tests of this board, whose environment it adds to.
    """
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] + ["manylinux2014_aarch64"]
    extra = pi.board.path / "root" / "extra"
    shutil.rmtree(extra, ignore_errors=True)
    shutil.copytree(wheels("3.11", platforms, "openvino>=2026.0"), extra)
    pi.board.says(
        f"{CURRENT}/env/bin/python -m pip install -q --no-index --no-compile --find-links /root/extra openvino"
    )
    trial(pi, "cortex-a76", "fp32", FEW, engine="openvino")


def test_python_310_with_the_last_onnxruntime_for_it(install: Callable[..., Installed], trial: Trial) -> None:
    """JetPack 6's Python with onnxruntime 1.23.2, from a Jetson's package; its GPU is not emulated.

    No Debian release has Python 3.10: tests/boards/python310.sh builds one, which `scripts/test --arm` runs before.
    """
    tree = Path(os.environ.get("WAV2EDGE_PYTHON310", ROOT / ".boards" / "python3.10"))
    if not (tree / "opt/python3.10/bin/python3.10").exists():
        pytest.skip("no Python 3.10 for aarch64 here; tests/boards/python310.sh builds it")

    def with_python(root: Path) -> None:
        shutil.rmtree(root / "opt", ignore_errors=True)
        shutil.copytree(tree / "opt", root / "opt", symlinks=True)

    there = install(
        "python310", "bookworm", "jetson-orin-nano", "--python", "3.10", "--variant", ",".join(VARIANTS),
        before="export PATH=/opt/python3.10/bin:$PATH", prepare=with_python,
    )  # fmt: skip
    assert "making the environment with Python 3.10" in there.said and "failed" not in there.said
    version = "import onnxruntime; print(onnxruntime.__version__)"
    assert there.board.says(f"{CURRENT}/env/bin/python -c '{version}'") == "1.23.2\n"
    for variant in VARIANTS:
        trial(there, "cortex-a76", variant, FEW)
