"""Who may import whom: the contracts of pyproject.toml, and what a process really loads."""

from __future__ import annotations

import ast
import functools
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
ENGINE_LIBRARIES = {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "torch", "cuda"}
FOLDERS = ("calibration", "devices", "export", "graphs", "measure", "runtime", "serving", "src/wav2edge")
"""The folders of the package, without ``tests`` and ``benchmarks``."""


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


@functools.cache
def modules() -> dict[str, ast.Module]:
    """The parsed modules of the package by their path in the repository."""
    files = {file.resolve() for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}
    assert len(files) > 200
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text("utf-8")) for file in sorted(files)}


def imported(node: ast.AST) -> list[str]:
    """The names that an import statement reads, each with its module: ``..engines._gpu.Buffer``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return [f"{module}{'' if module.endswith('.') else '.'}{alias.name}" for alias in node.names]
    return []


def test_only_engines_import_an_engines_library() -> None:
    users = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        for module in imported(node)
        if name.startswith("runtime/") and module.split(".")[0] in ENGINE_LIBRARIES
    }
    assert users
    assert {name for name in users if not name.startswith("runtime/engines/")} == set()


def borrowed(name: str, module: str) -> bool:
    """Whether an import reads a private name or module from outside the folder that it belongs to."""
    if not module.startswith("."):
        return False
    folder = Path(name).parent.parts
    level = len(module) - len(module.lstrip("."))
    path = folder[: len(folder) - level + 1] + tuple(module.lstrip(".").split("."))
    return any(part.startswith("_") and part[:2] != "__" and folder[:i] != path[:i] for i, part in enumerate(path))


def test_private_names_are_imported_only_within_their_folder() -> None:
    assert borrowed("measure/bench/worker.py", "...runtime.engines._gpu.Memory")
    assert not borrowed("runtime/engines/_tensorrt/engine.py", ".._gpu.Memory")
    private = {
        (name, module)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        for module in imported(node)
        if borrowed(name, module)
    }
    assert private == set()


def test_no_engine_is_recognised_by_its_name() -> None:
    """What the engines ``null`` and ``torch`` do differently is stated by properties of their classes."""
    comparisons = {
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        if name not in ("runtime/engines/null.py", "runtime/engines/torch.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Constant) and side.value in ("null", "torch")
    }
    assert comparisons == set()
