"""Who may import whom: the contracts of pyproject.toml, and what a process really loads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "openvino",
    "soundfile",
    "soxr",
    "sounddevice",
    "rich",
    "jiwer",
)


def loaded(script: str, *arguments: str) -> set[str]:
    """The heavy modules that a fresh interpreter has loaded after a script."""
    code = textwrap.dedent(script) + f"\nimport sys\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_import_contracts() -> None:
    pytest.importorskip("importlinter", reason="import-linter belongs to the group `check`")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_importing_loads_nothing_heavy() -> None:
    assert loaded("import wav2edge, wav2edge.cli, wav2edge.runtime.recordings.transcriber") == set()


def test_every_runtime_module_imports_without_engines() -> None:
    assert (
        loaded("""
        import importlib, pkgutil
        import wav2edge.runtime, wav2edge.devices
        for package in (wav2edge.runtime, wav2edge.devices):
            for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
                importlib.import_module(module.name)
    """)
        == set()
    )


def test_transcribing_loads_no_torch_and_no_onnx(clips: list[tuple[Path, str]]) -> None:
    script = """
        import sys
        from wav2edge.cli import main
        assert main(["transcribe", sys.argv[1]]) == 0
    """
    assert loaded(script, str(clips[0][0])) <= {"onnxruntime", "openvino", "soundfile", "soxr"}
